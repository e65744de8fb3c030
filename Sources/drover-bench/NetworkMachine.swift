import Foundation
import StubControl

/// Where packets come from and go to, and how they reach the guest that has the NIC.
enum NetworkBackEnd: String {
    /// The client stub, over vhost-user.
    case drover
    /// QEMU's own TAP back end, without vhost.
    case qemu = "qemu-tap"
    /// The guest itself sends and receives: nothing is forwarded.
    case native
    /// As `drover`, with the server stub in the guest, as in every DD/OS.
    case ddos

    /// What is compared.
    static let compared: [NetworkBackEnd] = [.drover, .qemu, .native]
}

/// One machine with its back end, between two namespaces: `host`, whose programs use the interface, and `wire`, the NIC's other end.
final class NetworkMachine {
    let backEnd: NetworkBackEnd
    let directory: String
    private let host: String
    private let wire: String
    private var processes: [(name: String, process: Process)] = []

    /// Requests to the client stub of a DD/OS.
    var control: LineSocket?
    var requests: UInt64 = 0

    init(_ backEnd: NetworkBackEnd, guest: NetworkGuest, mtu: Int, directory: String, programs: String) throws {
        self.backEnd = backEnd
        self.directory = directory + "/\(backEnd.rawValue)-\(mtu)"
        let unique = Belongings.mine.namespace + "-\(backEnd.rawValue)"
        host = unique + "-host"
        wire = unique + "-wire"
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        do { try start(guest, mtu, programs) } catch {
            stop()
            throw error
        }
    }

    private func start(_ guest: NetworkGuest, _ mtu: Int, _ programs: String) throws {
        try Tool.run("ip", "netns", "add", host)
        try Tool.run("ip", "netns", "add", wire)
        let parameters =
            switch backEnd {
            case .drover, .qemu: ""
            case .native: " bench.endpoint"
            case .ddos: " " + NetworkGuest.serverStubParameters
            }
        let network = try nearSide(mtu, programs)
        try launch(
            "qemu",
            [
                "ip", "netns", "exec", host, "qemu-system-x86_64", "-machine", "q35,memory-backend=m", "-accel", "tcg", "-cpu", "max",
                "-smp",
                "1,maxcpus=2", "-m", "128", "-object", "memory-backend-memfd,id=m,size=128M,share=on,seal=on", "-nodefaults", "-display",
                "none", "-chardev", "socket,id=console,path=\(directory)/console.sock,server=on,wait=off,logfile=\(directory)/console",
                "-serial",
                "chardev:console", "-no-reboot", "-kernel", guest.kernel, "-initrd", guest.initramfs,
                "-append",
                "console=ttyS0 quiet no_timer_check bench.mtu=\(mtu)" + parameters,
            ] + network + [
                "-netdev", "tap,id=wire0,ifname=far,script=no,downscript=no,vhost=off", "-device", "e1000e,netdev=wire0,addr=0x10,romfile=",
            ])
        try wait("the NIC's wire is there") { (try? Tool.run("ip", "-n", host, "link", "show", "far")) != nil }
        try Tool.run("ip", "-n", host, "link", "set", "far", "netns", wire)
        try Tool.run("ip", "-n", wire, "addr", "add", "10.77.0.2/24", "dev", "far")
        try Tool.run("ip", "-n", wire, "link", "set", "far", "mtu", "\(mtu)", "up")
        try launch("server", ["ip", "netns", "exec", wire, "iperf3", "-s"])
        try wait("the guest is ready") {
            if backEnd == .ddos { return (try? ask(.interface(.describe))) != nil }
            return ((try? String(contentsOfFile: directory + "/console", encoding: .utf8)) ?? "").contains("BENCH-READY")
        }
        try awaitPackets()
    }

    /// A NIC that was reset negotiates with the wire's other end, for seconds.
    func awaitPackets() throws { try wait("packets pass") { (try? ping(count: 1)) != nil } }

    /// What the near end of the traffic needs: a TAP, and the guest's virtio-net.
    private func nearSide(_ mtu: Int, _ programs: String) throws -> [String] {
        if backEnd == .native { return [] }
        try Tool.run("ip", "netns", "exec", host, "ip", "tuntap", "add", "dev", "near", "mode", "tap", "vnet_hdr")
        try Tool.run("ip", "-n", host, "addr", "add", "10.77.0.1/24", "dev", "near")
        try Tool.run("ip", "-n", host, "link", "set", "near", "mtu", "\(mtu)", "up")
        // QEMU 7.2's TCG cannot do MSI-X with vhost-user: then neither of them has it.
        let device = ["-device", "virtio-net-pci,netdev=host0,addr=0x13,vectors=0,rx_queue_size=1024,romfile="]
        if backEnd == .qemu { return ["-netdev", "tap,id=host0,ifname=near,script=no,downscript=no,vhost=off"] + device }
        try launch(
            "stub",
            [
                programs + "/drover-client-stub", "--class", "network", "--name", "bench", "--directory", directory, "--tap", "near",
                "--tap-namespace", "/run/netns/\(host)",
            ] + (backEnd == .ddos ? ["--cid", "3"] : ["--packets-only"]))
        try wait("the client stub listens") { FileManager.default.fileExists(atPath: directory + "/net.sock") }
        var vsock: [String] = []
        if backEnd == .ddos {
            try wait("the client stub takes commands") { (try? openLife()) != nil }
            vsock = ["-chardev", "socket,id=vsock0,path=\(directory)/vsock.sock", "-device", "vhost-user-vsock-pci,chardev=vsock0"]
        }
        return vsock + ["-chardev", "socket,id=net0,path=\(directory)/net.sock", "-netdev", "vhost-user,id=host0,chardev=net0"] + device
    }

    private func launch(_ name: String, _ words: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        _ = FileManager.default.createFile(atPath: "\(directory)/\(name).log", contents: nil)
        let log = FileHandle(forWritingAtPath: "\(directory)/\(name).log")
        process.standardOutput = log
        process.standardError = log
        process.standardInput = FileHandle.nullDevice
        try Interruption.start(process)
        processes.append((name, process))
    }

    private func wait(_ what: String, _ condition: () -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: 120)
        while !condition() {
            if let dead = processes.first(where: { !$0.process.isRunning }) {
                let log = (try? String(contentsOfFile: "\(directory)/\(dead.name).log", encoding: .utf8)) ?? ""
                throw BenchFailure(text: "\(backEnd.rawValue): \(dead.name) ended before \(what): \(log.suffix(300))")
            }
            guard Date() < deadline else { throw BenchFailure(text: "\(backEnd.rawValue): waited 120 s, and not yet: \(what)") }
            usleep(100_000)
        }
    }

    func stop() {
        for (_, process) in processes.reversed() where process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        processes.removeAll()
        for name in [host, wire] { _ = try? Tool.run("ip", "netns", "del", name) }
    }

    /// Takes the real-time priority from all of it, and from this process: one round-robin thread does not preempt another, so that with the priority a
    /// program that wants little CPU waits for one that wants all of it, a tenth of a second at a time.
    func useNormalPriority() throws {
        for identifier in processes.map(\.process.processIdentifier) + [getpid()] {
            try Tool.run("chrt", "--other", "--all-tasks", "--pid", "0", "\(identifier)")
        }
    }

    // MARK: measuring

    /// Seconds of CPU that the VMM and the stub have used.
    func cpuSeconds() -> (machine: Double, stub: Double) {
        func seconds(_ name: String) -> Double {
            guard let process = processes.first(where: { $0.name == name })?.process,
                let stat = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
            else { return 0 }
            let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
            guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
            return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
        }
        return (seconds("qemu"), seconds("stub"))
    }

    /// One run of iperf3. Its client is in the host's namespace; where the guest is the endpoint, on the wire, and drives the guest's server.
    ///
    /// `meanwhile` is called again and again while it runs, and waits itself.
    func iperf(_ load: NetworkLoad, seconds: Double, meanwhile: () throws -> Void = { usleep(20_000) }) throws -> IperfReport {
        let isNative = backEnd == .native
        let file = directory + "/iperf.json"
        let process = try Tool.start(
            ["ip", "netns", "exec", isNative ? wire : host]
                + load.client(of: isNative ? "10.77.0.1" : "10.77.0.2", isOnWire: isNative, seconds: seconds), output: file)
        do { while process.isRunning { try meanwhile() } } catch {
            kill(process.processIdentifier, SIGTERM)
            process.waitUntilExit()
            throw error
        }
        process.waitUntilExit()
        return try IperfReport((try? String(contentsOfFile: file, encoding: .utf8)) ?? "", isDatagrams: load.isDatagrams)
    }

    /// Round-trip times in microseconds, shortest first.
    @discardableResult
    func ping(count: Int) throws -> [Double] {
        let isNative = backEnd == .native
        let text = try Tool.run(
            "ip", "netns", "exec", isNative ? wire : host, "ping", "-c", "\(count)", "-i", "0.01", "-W", "2",
            isNative ? "10.77.0.1" : "10.77.0.2")
        return text.split(separator: "\n").compactMap { line in
            line.range(of: "time=").flatMap { Double(line[$0.upperBound...].prefix { $0.isNumber || $0 == "." }) }.map { $0 * 1000 }
        }.sorted()
    }
}
