import ControlAPI
import ControlModel
import Foundation
import Netlink

/// The network scene: an emulated NIC with its unmodified driver in a VM, a TCP transfer through it, the VM killed in the middle.
///
/// ```
///  namespace "host": dr-eth0 ◀─ DD/OS ─▶ NIC ─▶ wire's TAP ─ bridge ─ veth ─▶ namespace "wire": wire-end
/// ```
final class NetworkScene: Sendable {
    private let host = "drover-demo-host-\(getpid())"
    private let wire = "drover-demo-wire-\(getpid())"
    private let tap = "ddw\(getpid() % 1_000_000)t"
    private let bridge = "ddw\(getpid() % 1_000_000)b"
    private let port = "ddw\(getpid() % 1_000_000)p"
    private let mebibytes: Int

    init(mebibytes: Int) {
        self.mebibytes = mebibytes
    }

    var configuration: String {
        """
          eth0:
            class: network
            device: { emulated: e1000e, wire: { tap: \(tap) } }
            image: debian-6.1
            interface: { name: dr-eth0, namespace: \(host) }

        """
    }

    /// The wire and its far end, before the DD/OS is started.
    func prepare() throws {
        try ip([
            "netns add \(host)", "netns add \(wire)", "tuntap add dev \(tap) mode tap",
            "link add \(bridge) type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link add \(port) type veth peer name wire-end netns \(wire)", "link set \(tap) master \(bridge) addrgenmode none up",
            "link set \(port) master \(bridge) addrgenmode none up", "link set \(bridge) addrgenmode none up",
        ])
        try ip(["link set wire-end up", "addr add 10.78.1.2/24 dev wire-end"], in: wire)
    }

    /// Removes it again; what was never made is no error.
    func cleanUp() {
        for command in ["link del \(tap)", "link del \(port)", "link del \(bridge)", "netns del \(host)", "netns del \(wire)"] {
            try? ip([command])
        }
    }

    func run(_ client: ControlClient, _ stage: Stage) async throws {
        let nic = try await client.interface("eth0").interface
        stage.line("dr-eth0: \(nic.driver ?? "-"), \(nic.mac ?? "-"), MTU \(nic.mtu ?? 0); TCP → 10.78.1.2, \(mebibytes) MiB")
        try ip(["link set dr-eth0 up", "addr add 10.78.1.1/24 dev dr-eth0"], in: host)
        let stream = DemoStream(bytes: mebibytes << 20)
        let transfer = try stream.start(from: host, to: wire, address: "10.78.1.2")
        let deadline = ContinuousClock.now + .seconds(120)
        func until(_ share: Double) async throws {
            while Double(stream.received) < share * Double(stream.bytes) {
                guard ContinuousClock.now < deadline, !stream.hasEnded else { throw DemoError("the transfer did not get to \(share).") }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        try await until(0.3)
        let before = stream.received
        try await client.inject("eth0", .kill)
        while try await client.inspect("eth0").recoveries.isEmpty {
            guard ContinuousClock.now < deadline else { throw DemoError("eth0 did not recover within 120 s.") }
            try await Task.sleep(for: .milliseconds(100))
        }
        stage.line("    \(before >> 20) MiB had arrived when the VM was killed; the connection waits")
        let result = try await transfer.value
        stage.line(
            stage.green("✓ \(result.bytes >> 20) MiB arrived, checksum \(result.sent == result.received ? "right" : "WRONG")")
                + ", no connection reset, longest silence \(String(format: "%.1f s", result.silence))")
        guard result.sent == result.received else { throw DemoError("the transfer's checksum is wrong.") }
    }

    private func ip(_ commands: [String], in namespace: String? = nil) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/sbin/ip")
        process.arguments = (namespace.map { ["-n", $0] } ?? []) + ["-batch", "-"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data((commands.joined(separator: "\n") + "\n").utf8))
        try input.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw DemoError("ip: \(text)") }
    }
}
