import CLinux

/// What PID 1 of a DD/OS does to its kernel. Nothing here belongs on a host.
public enum Guest {
    /// `mount(2)`.
    public static func mount(_ source: String, on target: String, type: String, flags: UInt = 0, data: String = "") throws(SystemError) {
        // SAFETY: the C strings live as long as the call.
        try retrying("mount") {
            unsafe source.withCString { source in
                unsafe target.withCString { target in
                    unsafe type.withCString { type in
                        unsafe data.withCString { data in unsafe clinux_mount(source, target, type, flags, data) }
                    }
                }
            }
        }
    }

    /// Loads a module from its file (`finit_module(2)`). True if it was not there before.
    @discardableResult
    public static func loadModule(path: String, parameters: String = "") throws(SystemError) -> Bool {
        let file = try OwnedDescriptor(path: path, .readOnly)
        let descriptor = file.rawValue
        // SAFETY: the C string lives as long as the call.
        let result = unsafe parameters.withCString { unsafe clinux_finit_module(descriptor, $0, 0) }
        if result == 0 { return true }
        let code = clinux_errno()
        if code == EEXIST { return false }
        throw SystemError(code: code, call: "finit_module")
    }

    /// Flushes nothing, powers off (`reboot(RB_POWER_OFF)`). Returns only on failure.
    public static func powerOff() throws(SystemError) { try retrying("reboot") { clinux_power_off() } }

    /// Restarts the machine at once. Returns only on failure.
    public static func restart() throws(SystemError) { try retrying("reboot") { clinux_restart() } }

    /// Makes the kernel panic, as a broken driver would (sysrq c). Returns only on failure.
    public static func panic() throws(SystemError) { try retrying("sysrq-trigger") { clinux_panic() } }

    /// `mknod(2)` for a character or block device.
    public static func makeNode(_ path: String, block: Bool, major: UInt32, minor: UInt32) throws(SystemError) {
        let mode = UInt32(block ? S_IFBLK : S_IFCHR) | 0o600
        // SAFETY: the C string lives as long as the call.
        try retrying("mknod") { unsafe path.withCString { unsafe clinux_make_node($0, mode, clinux_make_device(major, minor)) } }
    }
}
