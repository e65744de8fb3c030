import CLinux
import Foundation

/// The directory in which libvirt lives when it runs inside this process: its configuration, state, logs, sockets.
///
/// ```
/// ROOT/etc/qemu.conf        written here at each open
/// ROOT/cache ─▶ CACHE       what QEMU can do: probing takes seconds, so it outlives run directories
/// ROOT/log/qemu/NAME.log    the command line of each life, and what QEMU printed on stderr
/// ROOT/run/                 process ids, monitor sockets, the state that a later owner finds again
/// ```
struct EmbeddedRoot {
    let path: String
    let cache: String

    var uri: String {
        // libvirt takes the value as a URI component.
        "qemu:///embed?root=" + (path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path)
    }

    func log(of machine: String) -> String { path + "/log/qemu/" + machine + ".log" }

    /// Bytes that libvirt adds for the longest of its socket paths: `/lib/qemu/domain-12345-NAME20CHARACTERS/monitor.sock`.
    private static let reserve = 58

    /// Makes everything that libvirt needs to find.
    func prepare() throws(HypervisorError) {
        guard path.hasPrefix("/") else { throw .libvirt(operation: "use the directory \(path)", message: "it has to be an absolute path") }
        guard path.utf8.count + Self.reserve <= UnixPath.limit else { throw .pathTooLong(path: path, limit: UnixPath.limit - Self.reserve) }
        // The driver looks these up even though qemu.conf names root.
        guard getpwnam("libvirt-qemu") != nil, getgrnam("libvirt-qemu") != nil else { throw .missingAccount(name: "libvirt-qemu") }
        try directory(path + "/etc")
        try directory(cache)
        try linkCache()
        let file = path + "/etc/qemu.conf"
        do {
            try Self.configuration.write(toFile: file, atomically: true, encoding: .utf8)
        } catch {
            throw Self.failure("write", file, error)
        }
    }

    /// Before the first connection, whatever its URI: libvirt's own log would go to stderr, where it looks like ours. Warnings and worse; a
    /// setting from outside wins.
    func takeLog() { setenv("LIBVIRT_LOG_OUTPUTS", "3:file:\(path)/libvirt.log", 0) }

    /// The user is root because another user makes libvirt probe QEMU again in each process (it cannot open /dev/kvm). What confines the VMM:
    /// seccomp takes exec, new privileges and resource control away, and libvirt gives it a /dev of its own with only what it needs.
    static let configuration = """
        # Written by Drover at each start.
        user = "root"
        group = "root"
        # QEMU appends to its log itself: there is no virtlogd.
        stdio_handler = "file"
        # No extended attributes on backing files: they would stay behind when a supervisor is killed.
        remember_owner = 0
        dynamic_ownership = 0
        security_driver = "none"
        seccomp_sandbox = 1
        max_core = 0
        dump_guest_core = 0

        """

    private func linkCache() throws(HypervisorError) {
        let link = path + "/cache"
        let manager = FileManager.default
        if (try? manager.destinationOfSymbolicLink(atPath: link)) == cache { return }
        do {
            if (try? manager.attributesOfItem(atPath: link)) != nil { try manager.removeItem(atPath: link) }
            try manager.createSymbolicLink(atPath: link, withDestinationPath: cache)
        } catch {
            throw Self.failure("link", link, error)
        }
    }

    private func directory(_ path: String) throws(HypervisorError) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw Self.failure("create", path, error)
        }
    }

    private static func failure(_ operation: String, _ path: String, _ error: any Error) -> HypervisorError {
        let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        let code = underlying.map { Int32(truncatingIfNeeded: $0.code) } ?? EIO
        return code == EACCES || code == EPERM
            ? .notPermitted(operation: "\(operation) \(path)") : .system(operation: operation, path: path, errno: code)
    }

    /// The process that has the root open, from libvirt's pid file.
    var holder: Int32? {
        for file in ["/run/driver.pid", "/run/qemu/driver.pid"] {
            if let text = try? String(contentsOfFile: path + file, encoding: .utf8),
                let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
            {
                return pid
            }
        }
        return nil
    }
}
