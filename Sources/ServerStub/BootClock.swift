internal import LinuxSystem

/// When the steps of a boot were done, on the guest's monotonic clock, which begins with the kernel.
///
/// Its ``text`` goes to the client stub as a line of the log; the supervisor reads the figures in it (`StartTimeline`):
///
///     boot: init 512 ms, modules 530 ms, devices 640 ms, connected 650 ms
struct BootClock {
    /// PID 1 began.
    let began: UInt64
    private var modules: UInt64 = 0
    private var devices: UInt64 = 0
    private var connection: UInt64 = 0

    init() { began = Clock.monotonic() }

    mutating func modulesLoaded() { modules = Clock.monotonic() }

    mutating func devicesFound() { devices = Clock.monotonic() }

    mutating func connected() { connection = Clock.monotonic() }

    var text: String {
        func milliseconds(_ time: UInt64) -> String { decimal(Int(time / 1_000_000)) + " ms" }
        return "boot: init " + milliseconds(began) + ", modules " + milliseconds(modules) + ", devices " + milliseconds(devices)
            + ", connected " + milliseconds(connection)
    }
}
