import Foundation
import Glibc

/// QEMU's monitor (QMP) of one DD/OS's VMM. It serves one client at a time, which is libvirt as long as a droverd lives.
final class MonitorSocket {
    private let descriptor: Int32
    private var pending = Data()

    /// Connects, and reads the greeting.
    init(_ rig: Rig, of name: String) throws {
        let root = rig.runDirectory + "/libvirt"
        let paths = (FileManager.default.enumerator(atPath: root)?.allObjects ?? []).compactMap { $0 as? String }
        guard let path = paths.first(where: { $0.hasSuffix("-\(name)/monitor.sock") }) else {
            throw Failure("\(name) has no monitor below \(root)")
        }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let full = root + "/" + path
        guard full.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { throw Failure("\(full) is too long") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: full.utf8) }
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
        }
        let result = NetworkSocket.withAddress(withUnsafeBytes(of: address) { Array($0) }) { connect(descriptor, $0, $1) }
        guard result == 0 else { throw Failure("\(full): \(String(cString: strerror(errno)))") }
        _ = try answer("QMP")
        _ = try execute("{\"execute\":\"qmp_capabilities\"}")
    }

    deinit { close(descriptor) }

    /// Pulls the cable of the emulated NIC out, or plugs it in.
    func setLink(_ isUp: Bool) throws {
        _ = try execute("{\"execute\":\"set_link\",\"arguments\":{\"name\":\"net0\",\"up\":\(isUp)}}")
    }

    /// A command, and its answer.
    private func execute(_ command: String) throws -> String {
        let bytes = Array((command + "\n").utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw Failure("the monitor does not listen: \(String(cString: strerror(errno)))")
        }
        return try answer("return")
    }

    /// The next line with this key; events between are passed over.
    private func answer(_ key: String) throws -> String {
        while true {
            if let end = pending.firstIndex(of: 10) {
                let line = String(decoding: pending[pending.startIndex..<end], as: UTF8.self)
                pending = Data(pending[(end + 1)...])
                if line.hasPrefix("{\"error\"") { throw Failure("the monitor: \(line)") }
                if line.hasPrefix("{\"\(key)\"") { return line }
                continue
            }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &bytes, bytes.count, 0)
            guard count > 0 else { throw Failure("the monitor says nothing: \(String(cString: strerror(errno)))") }
            pending.append(contentsOf: bytes[..<count])
        }
    }
}
