import ArgumentParser
import CLinux
import ClientStub
import FrontEnds
import LinuxSystem

/// One process for each DD/OS: the driver side of its disks.
@main
struct ClientStubProgram: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover-client-stub",
        abstract: "Offers the disks of one DD/OS to this machine.",
        discussion: """
            Started by droverd, one for each DD/OS. It is the vsock device of the DD/OS's virtual machine, the virtio driver of \
            its disks, and their NBD server. It outlives the virtual machine, and its supervisor.

            With --native-socket it serves a drover-server-stub on this machine instead of one in a virtual machine.
            """)

    @Option(help: "Name of the DD/OS, for messages.")
    var name: String
    @Option(help: "Where control.sock and vsock.sock are made.")
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
    var pollLimit: UInt64 = 50
    @Option(help: "Accepted for symmetry with droverd; the stub logs events only.")
    var logLevel: String = "info"

    enum WhileDown: String, ExpressibleByArgument, CaseIterable {
        case hold, fail
    }

    mutating func validate() throws {
        guard nativeSocket != nil || (cid ?? 0) >= 3 else { throw ValidationError("--cid has to be 3 or more, or --native-socket given.") }
        guard queueSize >= 4, queueSize <= 32768, queueSize & (queueSize - 1) == 0 else {
            throw ValidationError("--queue-size has to be a power of two from 4 to 32768.")
        }
        for value in [requestDeadline, pingTimeout, holdLimit ?? 0] where !(value >= 0 && value <= 1e9) {
            throw ValidationError("\(value) is no number of seconds.")
        }
        for path in [control, virtualMachineSocket, nbd, nativeSocket].compactMap({ $0 }) where path.utf8.count > UnixSocket.longestPath {
            throw ValidationError(
                "The socket path \(path) has \(path.utf8.count) bytes; Linux takes \(UnixSocket.longestPath). Use a shorter directory.")
        }
    }

    private var control: String { directory + "/control.sock" }
    private var virtualMachineSocket: String { directory + "/vsock.sock" }

    mutating func run() throws {
        do throws(SystemError) {
            try serve()
        } catch {
            StubLog.write("drover-client-stub \(name): \(error.description)")
            throw ExitCode(1)
        }
    }

    private func serve() throws(SystemError) {
        // The sockets of a dead stub are replaced; those of a living one are not.
        if isServed(control) {
            StubLog.write(
                "drover-client-stub \(name): another client stub runs in \(directory) (it answers on control.sock); stop it first")
            CLinux.exit(1)
        }
        let source: ServerSource =
            nativeSocket.map { .native(socket: $0) } ?? .virtualMachine(socket: virtualMachineSocket, cid: cid ?? 3)
        let port = try ControlServer(path: control)
        if let nbd {
            let server = try NBDServer<BlockEngine>(path: nbd)
            var driver = try StubDriver(
                configuration: engine, source: source, pollLimit: pollLimit * 1000, frontEnd: server, port: port)
            StubLog.write("\(name): waiting for the DD/OS")
            try driver.run()
        } else {
            var driver = try StubDriver(
                configuration: engine, source: source, pollLimit: pollLimit * 1000, frontEnd: NoFrontEnd<BlockEngine>(), port: port)
            StubLog.write("\(name): waiting for the DD/OS, without a front end")
            try driver.run()
        }
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
