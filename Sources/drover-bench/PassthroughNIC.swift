import Foundation

/// A network card: iperf3 between the interface, the card's own or the DD/OS's, and the other end of the wire, which is in a namespace.
final class PassthroughNIC: PassthroughBench {
    let address: String
    private let programs: String
    private let image: String
    private let seconds: Double
    private let namespace = Belongings.mine.namespace
    private let place: WorkDirectory
    private var server: Process?

    var name: String { "NIC at \(address)" }
    var unit: String { "Mbit/s" }
    var share: String { "10⁹ bytes" }

    private static let loads = [true, false].map { NetworkLoad(mtu: 1500, isOutward: $0) }
    private static let interface = "dr-bench"
    private static let (near, far) = ("10.78.0.1", "10.78.0.2")

    init(address: String, wire: String, programs: String, image: String, seconds: Double) throws {
        self.address = address
        self.programs = programs
        self.image = image
        self.seconds = seconds
        place = try WorkDirectory(in: "/tmp")
        do {
            let end = try Self.interface(of: wire)
            try Tool.run("ip", "netns", "add", namespace)
            try Tool.run("ip", "link", "set", end, "netns", namespace)
            try Tool.run("ip", "-n", namespace, "link", "set", "lo", "up")
            try Tool.run("ip", "-n", namespace, "addr", "add", Self.far + "/24", "dev", end)
            try Tool.run("ip", "-n", namespace, "link", "set", end, "up")
            server = try Tool.start(["ip", "netns", "exec", namespace, "iperf3", "-s"], output: nil)
        } catch {
            remove()
            throw error
        }
    }

    /// The wire's end goes back to the machine.
    func remove() {
        if let server {
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        server = nil
        _ = try? Tool.run("ip", "netns", "del", namespace)
        place.remove()
    }

    func native(_ progress: (String) -> Void) throws -> [PassthroughReport.Figure] {
        try run(on: try Self.interface(of: address), "native", progress)
    }

    func throughDrover(_ progress: (String) -> Void) throws -> [PassthroughReport.Figure] {
        progress("a DD/OS takes it")
        let machines = try SupervisedMachines(programs: programs, names: ["nic0"]) { [address, image] _, _ in
            PassthroughKeys.of(address, image, deviceClass: "network") + ["interface: { name: \(Self.interface) }"]
        }
        defer { machines.remove() }
        return try run(on: Self.interface, "Drover", progress)
    }

    private func run(on interface: String, _ title: String, _ progress: (String) -> Void) throws -> [PassthroughReport.Figure] {
        try Tool.run("ip", "addr", "add", Self.near + "/24", "dev", interface)
        defer { _ = try? Tool.run("ip", "addr", "flush", "dev", interface) }
        try Tool.run("ip", "link", "set", interface, "up")
        progress("\(title), the link comes up")
        try awaitPackets()
        return try Self.loads.map { load in
            progress("\(title), \(load.name)")
            let before = try WholeMachine.busySeconds()
            let text = try Tool.run(load.client(of: Self.far, isOnWire: false, seconds: seconds))
            let busy = try WholeMachine.busySeconds() - before
            let report = try IperfReport(text, isDatagrams: false)
            return PassthroughReport.Figure(
                workload: load.name, rate: report.bytesPerSecond * 8 / 1e6, cpu: busy * 1e9 / max(1, report.bytes))
        }
    }

    private func awaitPackets() throws {
        let deadline = Date(timeIntervalSinceNow: 120)
        while (try? Tool.run("ping", "-c", "1", "-W", "1", Self.far)) == nil {
            guard Date() < deadline else { throw BenchFailure(text: "no packet of \(address)'s comes back from the other end of its wire") }
            usleep(200_000)
        }
    }

    /// What the kernel calls a card's interface. The driver may still be making it.
    private static func interface(of address: String) throws -> String {
        let deadline = Date(timeIntervalSinceNow: 30)
        while true {
            for name in ((try? FileManager.default.contentsOfDirectory(atPath: "/sys/class/net")) ?? []).sorted() {
                let place = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/sys/class/net/\(name)")) ?? ""
                if place.contains("/\(address)/") { return name }
            }
            guard Date() < deadline else { throw BenchFailure(text: "\(address) has no interface of the host's") }
            usleep(100_000)
        }
    }
}
