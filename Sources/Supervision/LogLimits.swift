import Foundation
import Hypervisor

/// Keeps what guests, VMMs and stubs print from filling the host's disk: a hostile driver can print as fast as it likes, for ever.
///
/// Every writer of these files appends (O_APPEND), so a file can be cut under it. What stays is the newer half.
struct LogLimits: Sendable {
    /// A file that is larger is cut.
    var bytes: UInt64 = 8 << 20
    /// How often they are looked at. A guest prints tens of MB a second at most: every byte is an exit from the guest.
    var interval: Duration = .seconds(2)

    /// Until the task is cancelled.
    func keep(_ paths: [String]) async {
        while !Task.isCancelled {
            for path in paths { ConsoleLog.limit(path: path, bytes: bytes) }
            try? await Task.sleep(for: interval)
        }
    }
}

extension RunDirectory {
    /// Everything that somebody else than ``EventLog`` writes to, for DD/OSs of these names.
    func logs(of names: [String]) -> [String] {
        [libvirtRoot + "/libvirt.log", path + "/droverd.log"]
            + names.flatMap { [consoleLog($0), stubLog($0), "\(libvirtRoot)/log/qemu/\($0).log"] }
    }
}
