import ArgumentParser
import CLinux
import ClientStub
import FrontEnds
import LinuxSystem
import NetworkStub

/// One process for each DD/OS: the driver side of its disks.
@main
struct ClientStubProgram: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover-client-stub",
        abstract: "Offers the device of one DD/OS to this machine.",
        discussion: """
            Started by droverd, one for each DD/OS. It is the vsock device of the DD/OS's virtual machine, and outlives the virtual machine, and \
            its supervisor.

            With --class block (the default) it is the virtio driver of the DD/OS's disks, and their NBD server.

            With --class network it is the virtio-net device of the virtual machine, and moves packets between it and a TAP interface that \
            exists already; it neither makes nor removes that. It listens on vsock.sock and net.sock (both vhost-user, QEMU connects) and on \
            control.sock.

            With --native-socket it serves a drover-server-stub on this machine instead of one in a virtual machine.
            """)

    @Option(help: "Name of the DD/OS, for messages.")
    var name: String
    @Option(name: .customLong("class"), help: "What the DD/OS drives: block or network.")
    var deviceClass: DeviceClass = .block
    @Option(help: "Where control.sock, vsock.sock and net.sock are made.")
    var directory: String
    @Option(help: "Context id of the virtual machine, 3 or more.")
    var cid: UInt64?
    @Option(help: "Unix socket for NBD clients. Without it the disks are offered to nobody.")
    var nbd: String?
    @Option(help: "Listen here for a server stub on this machine, instead of a virtual machine.")
    var nativeSocket: String?
    @Option(help: ArgumentHelp("How long the DD/OS may take for a request.", valueName: "seconds"))
    var requestDeadline: Double = 10
    @Option(help: "What becomes of requests while the DD/OS is down: hold or fail.")
    var whileDown: WhileDown = .hold
    @Option(
        help: ArgumentHelp(
            "How long a request is held before it fails. Default: without end for hold, not at all for fail.", valueName: "seconds"))
    var holdLimit: Double?
    @Option(help: ArgumentHelp("How long the DD/OS may take to answer a PING.", valueName: "seconds"))
    var pingTimeout: Double = 3
    @Option(help: "Requests in flight for each disk, a power of two.")
    var queueSize: UInt16 = 256
    @Option(help: ArgumentHelp("Longest look at the rings before sleeping.", valueName: "microseconds"))
    var pollLimit: UInt64 = 20
    @Option(help: "Least important lines to log: trace, debug, info, notice, warning, error or critical.")
    var logLevel: String = "info"

    @Option(help: "network: the TAP interface that the host's programs use.")
    var tap: String?
    @Option(help: ArgumentHelp("network: the network namespace that the TAP is in, for instance /run/netns/lab.", valueName: "path"))
    var tapNamespace: String?
    @Option(help: "network: the interface's carrier while the DD/OS is down: hold or drop.")
    var carrier: Carrier = .hold
    @Flag(help: "network: the interface had its carrier before this stub: with --carrier hold it begins with it.")
    var carrierWasOn = false
    @Option(help: "network: pairs of queues, 1 to 4. The TAP is made with the flag multi_queue for more than one.")
    var queuePairs = 1

    @Flag(help: "network: serve the packets of a virtual machine without a server stub in it, for measurements.")
    var packetsOnly = false

    enum DeviceClass: String, ExpressibleByArgument, CaseIterable {
        case block, network
    }

    enum Carrier: String, ExpressibleByArgument, CaseIterable {
        case hold, drop
    }

    enum WhileDown: String, ExpressibleByArgument, CaseIterable {
        case hold, fail
    }

    mutating func validate() throws {
        guard LogLevel(name: logLevel) != nil else {
            throw ValidationError("There is no log level '\(logLevel)': use trace, debug, info, notice, warning, error or critical.")
        }
        guard nativeSocket != nil || packetsOnly || (cid ?? 0) >= 3 else {
            throw ValidationError("--cid has to be 3 or more, or --native-socket given.")
        }
        guard queueSize >= 4, queueSize <= 32768, queueSize & (queueSize - 1) == 0 else {
            throw ValidationError("--queue-size has to be a power of two from 4 to 32768.")
        }
        if deviceClass == .network {
            guard tap != nil else { throw ValidationError("--class network needs --tap, the name of a TAP interface.") }
            guard (1...NetworkDevice.mostPairs).contains(queuePairs) else {
                throw ValidationError("--queue-pairs has to be 1 to \(NetworkDevice.mostPairs).")
            }
            guard nbd == nil else { throw ValidationError("--nbd is for disks; with --class network the interface is --tap.") }
        } else if tap != nil || tapNamespace != nil {
            throw ValidationError("--tap and --tap-namespace need --class network.")
        }
        for value in [requestDeadline, pingTimeout, holdLimit ?? 0] where !(value >= 0 && value <= 1e9) {
            throw ValidationError("\(value) is no number of seconds.")
        }
        for path in [control, virtualMachineSocket, networkSocket, nbd, nativeSocket].compactMap({ $0 })
        where path.utf8.count > UnixSocket.longestPath {
            throw ValidationError(
                "The socket path \(path) has \(path.utf8.count) bytes; Linux takes \(UnixSocket.longestPath). Use a shorter directory.")
        }
    }

    private var control: String { directory + "/control.sock" }
    private var virtualMachineSocket: String { directory + "/vsock.sock" }
    private var networkSocket: String { directory + "/net.sock" }

    mutating func run() throws {
        LogLevel(name: logLevel).map(StubLog.show)
        do throws(SystemError) {
            try serve()
        } catch {
            StubLog.write("drover-client-stub \(name): \(error.description)", .error)
            throw ExitCode(1)
        }
    }

    private func serve() throws(SystemError) {
        // The sockets of a dead stub are replaced; those of a living one are not.
        if isServed(control) {
            StubLog.write(
                "drover-client-stub \(name): another client stub runs in \(directory) (it answers on control.sock); stop it first", .error)
            CLinux.exit(1)
        }
        if deviceClass == .network { return try serveNetwork() }
        let source: ServerSource =
            nativeSocket.map { .native(socket: $0) } ?? .virtualMachine(socket: virtualMachineSocket, cid: cid ?? 3)
        if let nbd {
            // Before the control socket: a supervisor that has connected takes the stub for one that works.
            let server = try nbdServer(nbd)
            let port = try ControlServer(path: control)
            var driver = try StubDriver(
                configuration: engine, source: source, pollLimit: pollLimit * 1000, frontEnd: server, port: port)
            StubLog.write("\(name): waiting for the DD/OS")
            try driver.run()
        } else {
            let port = try ControlServer(path: control)
            var driver = try StubDriver(
                configuration: engine, source: source, pollLimit: pollLimit * 1000, frontEnd: NoFrontEnd<BlockEngine>(), port: port)
            StubLog.write("\(name): waiting for the DD/OS, without a front end")
            try driver.run()
        }
        StubLog.write("\(name): stopped")
    }

    private func nbdServer(_ path: String) throws(SystemError) -> NBDServer<BlockEngine> {
        do throws(SystemError) {
            return try NBDServer<BlockEngine>(path: path, log: { StubLog.write($0, .warning) })
        } catch {
            let reason =
                error.code == EADDRINUSE
                ? "something that is no socket is there; move it away, or name another socket in 'frontends'" : error.description
            StubLog.write("drover-client-stub \(name): NBD cannot be offered at \(path): \(reason)", .error)
            CLinux.exit(1)
        }
    }

    private func serveNetwork() throws(SystemError) {
        let interface: Tap
        do throws(TapError) {
            interface = try Tap(name: tap ?? "", namespace: tapNamespace, queues: queuePairs)
        } catch {
            StubLog.write("drover-client-stub \(name): \(error.description)", .error)
            CLinux.exit(1)
        }
        var configuration = NetworkConfiguration()
        configuration.pingTimeout = UInt64(pingTimeout * 1e9)
        configuration.dropsCarrier = carrier == .drop
        configuration.beginsWithCarrier = carrierWasOn
        let source: NetworkSource =
            packetsOnly
            ? .packetsOnly(network: networkSocket)
            : nativeSocket.map { .native(socket: $0) }
                ?? .virtualMachine(vsock: virtualMachineSocket, network: networkSocket, cid: cid ?? 3)
        var driver = try NetworkDriver(
            configuration: configuration, source: source, pollLimit: pollLimit * 1000, tap: interface, port: ControlServer(path: control))
        StubLog.write("\(name): waiting for the DD/OS, for \(tap ?? "")")
        try driver.run()
        StubLog.write("\(name): stopped")
    }

    /// Whether a living process listens at `path`. That a connection is taken proves nothing: a ring with an operation on the socket is
    /// torn down by the kernel some time after its process has died, and the socket with it.
    private func isServed(_ path: String) -> Bool {
        guard let socket = try? UnixSocket.connect(path: path), let process = try? socket.peerProcess() else { return false }
        return kill(process, 0) == 0 || clinux_errno() == EPERM
    }

    private var engine: EngineConfiguration {
        var engine = EngineConfiguration()
        engine.requestDeadline = UInt64(requestDeadline * 1e9)
        engine.pingTimeout = UInt64(pingTimeout * 1e9)
        engine.queueSize = queueSize
        switch whileDown {
        case .hold: engine.holdLimit = holdLimit.map { UInt64($0 * 1e9) } ?? .max
        case .fail: engine.holdLimit = UInt64((holdLimit ?? 0) * 1e9)
        }
        return engine
    }
}
