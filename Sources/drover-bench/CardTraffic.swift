import Foundation

/// Traffic for a NIC of a DD/OS, between the host's interface in one namespace and the end of the wire in another. The wire's TAP device is
/// where QEMU finds it, start after start, and a bridge joins it to the end.
struct CardTraffic {
    let host = Belongings.mine.namespace + "-host"
    private let wire = Belongings.mine.namespace + "-wire"
    let interface = "dr-b\(getpid())"
    let tap = Belongings.mine.linkPrefix + "t"
    private let bridge = Belongings.mine.linkPrefix + "b"
    private let port = Belongings.mine.linkPrefix + "p"

    let mtu: Int

    private static let (near, far) = ("10.79.0.1", "10.79.0.2")

    /// The longest frames that each driver takes of its model: bytes of payload.
    static let mtus = [
        "e1000e": 9000, "e1000": 9000, "pcnet32": 1500, "8139cp": 4000, "e100": 1500, "vmxnet3": 3000, "virtio_net": 9000, "tulip": 1500,
    ]

    /// - Parameter device: one of ``mtus``.
    init(_ device: String) throws {
        mtu = Self.mtus[device] ?? 1500
        do {
            for name in [host, wire] { try Tool.run("ip", "netns", "add", name) }
            try Tool.run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
            try Tool.run("ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
            try Tool.run("ip", "link", "add", port, "type", "veth", "peer", "name", "end", "netns", wire)
            for name in [tap, port] { try Tool.run("ip", "link", "set", name, "mtu", "\(mtu)", "master", bridge, "up") }
            try Tool.run("ip", "link", "set", bridge, "up")
            try Tool.run("ip", "-n", wire, "addr", "add", Self.far + "/24", "dev", "end")
            try Tool.run("ip", "-n", wire, "link", "set", "end", "mtu", "\(mtu)", "up")
        } catch {
            remove()
            throw error
        }
    }

    func remove() {
        // One end of a pair takes the other with it.
        for name in [port, bridge, tap] { _ = try? Tool.run("ip", "link", "del", name) }
        for name in [host, wire] { _ = try? Tool.run("ip", "netns", "del", name) }
    }

    /// Four TCP streams out, then four in, for a second each: as much as the DD/OS takes, in the longest frames. It has just started.
    func run() throws {
        try Tool.run("ip", "-n", host, "addr", "replace", Self.near + "/24", "dev", interface)
        try Tool.run("ip", "-n", host, "link", "set", interface, "up")
        let deadline = Date(timeIntervalSinceNow: 20)
        while (try? Tool.run("ip", "netns", "exec", host, "ping", "-c", "1", "-W", "1", Self.far)) == nil {
            guard Date() < deadline else { throw BenchFailure(text: "no packet comes back from the other end of the wire") }
            usleep(100_000)
        }
        let server = try Tool.start(["ip", "netns", "exec", wire, "iperf3", "-s"], output: nil)
        defer {
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        for isOutward in [true, false] {
            let load = NetworkLoad(mtu: mtu, isOutward: isOutward, streams: 4)
            let text = try Tool.run(["ip", "netns", "exec", host] + load.client(of: Self.far, isOnWire: false, seconds: 1))
            guard try IperfReport(text, isDatagrams: false).bytes > 1_000_000 else {
                throw BenchFailure(text: "\(load.name): less than a megabyte in a second")
            }
        }
    }
}
