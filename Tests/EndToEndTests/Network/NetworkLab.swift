import Foundation
import Glibc
import Netlink

/// Two network namespaces of a test's own, and the wires between them:
///
/// ```
///  namespace "host"                                                   namespace "wire"
///    dr-… (TAP) ◀── DD/OS ──▶ NIC ──▶ wire's TAP ── bridge ── veth ──▶ veth
///    10.77.N.1, fd77:N::1               (the machine's own)             10.77.N.2, fd77:N::2
/// ```
/// The wire's TAP device is where QEMU finds it, in life after life; the bridge carries what it says to the namespace. Nothing of it touches
/// the machine's own networks.
final class NetworkLab: Sendable {
    let host: String
    let wire: String
    private let tag: String

    /// One NIC's cable, and what its ends are called.
    struct Cable: Sendable {
        let number: Int
        /// What the configuration names.
        let tap: String
        /// The host's interface, in ``NetworkLab/host``.
        let interface: String
        /// The other end, in ``NetworkLab/wire``.
        let end: String
        /// The NIC's, and so the host's interface's.
        let mac: String
        fileprivate let bridge: String
        fileprivate let port: String

        var hostAddress: String { "10.77.\(number).1" }
        var wireAddress: String { "10.77.\(number).2" }
        var hostAddress6: String { "fd77:\(number)::1" }
        var wireAddress6: String { "fd77:\(number)::2" }

        /// Locally administered, and another one for each NIC.
        static func mac(_ number: Int) -> String { String(format: "52:54:00:77:%02x:01", number) }
    }

    init() throws {
        // An interface's name has 15 bytes, and the rest of the machine has names too.
        tag = String(UInt32.random(in: 0..<0xffff), radix: 36)
        host = "drover-h\(tag)"
        wire = "drover-w\(tag)"
        try Self.ip(["netns add \(host)", "netns add \(wire)"])
        try Self.ip(["link set lo up"], in: host)
        try Self.ip(["link set lo up"], in: wire)
    }

    func cable(_ number: Int) throws -> Cable {
        let cable = Cable(
            number: number, tap: "dw\(tag)t\(number)", interface: "dr-n\(number)", end: "end\(number)", mac: Cable.mac(number),
            bridge: "dw\(tag)b\(number)", port: "dw\(tag)p\(number)")
        try Self.ip([
            // The name of a port that the configuration does not know: the wire is made here, not by droverd.
            "tuntap add dev \(cable.tap) mode tap",
            "link add \(cable.bridge) mtu 9000 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link add \(cable.port) mtu 9000 type veth peer name \(cable.end) netns \(wire)",
            "link set \(cable.tap) mtu 9000 master \(cable.bridge) addrgenmode none up",
            "link set \(cable.port) master \(cable.bridge) addrgenmode none up", "link set \(cable.bridge) addrgenmode none up",
        ])
        try configureEnd(of: cable)
        return cable
    }

    /// The cable of a real NIC, whose other end is an interface of the machine's: it is in the namespace until ``cleanUp()``, and then
    /// the machine's again.
    func cable(_ number: Int, mac: String, end device: String) throws -> Cable {
        let cable = Cable(number: number, tap: "", interface: "dr-n\(number)", end: device, mac: mac, bridge: "", port: "")
        try Self.ip(["link set \(device) netns \(wire)"])
        try configureEnd(of: cable)
        return cable
    }

    private func configureEnd(of cable: Cable) throws {
        try Self.ip(
            [
                "link set \(cable.end) mtu 1500 addrgenmode none up", "addr add \(cable.wireAddress)/24 dev \(cable.end)",
                "addr add \(cable.wireAddress6)/64 dev \(cable.end) nodad",
            ], in: wire)
    }

    /// Gives the host's interface its addresses, as an administrator does once.
    func configure(_ cable: Cable) throws {
        try Self.ip(
            [
                "link set \(cable.interface) addrgenmode none up", "addr add \(cable.hostAddress)/24 dev \(cable.interface)",
                "addr add \(cable.hostAddress6)/64 dev \(cable.interface) nodad",
            ], in: host)
    }

    /// The MTU of the wire's far end; the wire itself takes 9000.
    func setEnd(_ cable: Cable, mtu: Int) throws {
        try Self.ip(["link set \(cable.end) mtu \(mtu)"], in: wire)
    }

    /// Removes everything. Returns what could not be removed.
    func cleanUp() -> [String] {
        var left: [String] = []
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/net")) ?? []
        for name in names.sorted() where name.hasPrefix("dw\(tag)") {
            // One end of a pair takes the other with it.
            try? Self.ip(["link del \(name)"])
        }
        for namespace in [host, wire] {
            do { try Self.ip(["netns del \(namespace)"]) } catch { left.append("\(error)") }
        }
        let after = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/net")) ?? []
        return left + after.filter { $0.hasPrefix("dw\(tag)") }.map { "interface \($0)" }
    }

    // MARK: looking

    /// An interface of a namespace; nil: there is none of this name.
    static func link(_ name: String, in namespace: String?) throws -> Link? {
        do {
            if let namespace {
                var links = try LinkSocket(namespace: "/run/netns/\(namespace)")
                return try links.link(named: name)
            }
            var links = try LinkSocket()
            return try links.link(named: name)
        } catch {
            if error.code == ENODEV { return nil }
            throw Failure("looking at \(name): \(error)")
        }
    }

    func link(_ cable: Cable) throws -> Link? { try Self.link(cable.interface, in: host) }

    /// Runs `body` in a namespace: what it opens belongs to it.
    static func inside<Result>(_ namespace: String, _ body: () throws -> Result) throws -> Result {
        var result: Swift.Result<Result, any Error>?
        try NetworkNamespace(path: "/run/netns/\(namespace)").perform { () throws(NetlinkError) in result = Swift.Result { try body() } }
        guard let result else { throw Failure("nothing ran in \(namespace)") }
        return try result.get()
    }

    /// Has `ip` carry these out, in one process.
    static func ip(_ commands: [String], in namespace: String? = nil) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/sbin/ip")
        process.arguments = (namespace.map { ["-n", $0] } ?? []) + ["-batch", "-"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(commands.joined(separator: "\n").utf8 + [10]))
        try input.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure("ip \(commands): \(text)") }
    }
}
