import Foundation
public import Logging
import Synchronization

/// The virtual machines of one libvirt connection: `qemu:///embed` by default, which needs no daemon.
///
/// libvirt's calls block, so they run on threads of their own. Safe to use from any task. Machines are transient: what survives a supervisor
/// is the VMM process, and what libvirt wrote down about it; a machine whose VMM has died leaves nothing behind to be cleaned up.
///
/// The process should be a child subreaper (`ProcessControl.becomeChildSubreaper()`): then VMMs are reaped here, at once, instead of when
/// PID 1 comes to it.
public final class Hypervisor: Sendable {
    /// What happens to the machines, from ``open(uri:root:cacheDirectory:emulator:logger:)`` on. For one consumer. Ends with ``close()``.
    public let events: AsyncStream<VirtualMachineEvent>

    let connection: Connection
    let calls: BlockingCalls
    let callbacks: EventCallbacks
    let root: String
    let emulator: String
    let mark: MachineMark
    let logger: Logger
    /// The VMM processes that were started or adopted, by machine.
    let processes = Mutex<[String: VMMProcess]>([:])
    private let closed = Mutex(false)

    private init(
        connection: Connection, calls: BlockingCalls, callbacks: EventCallbacks, events: AsyncStream<VirtualMachineEvent>, root: String,
        emulator: String, mark: MachineMark, logger: Logger
    ) {
        self.mark = mark
        self.connection = connection
        self.calls = calls
        self.callbacks = callbacks
        self.events = events
        self.root = root
        self.emulator = emulator
        self.logger = logger
    }

    /// Prepares the root directory and connects. Machines that outlived an earlier owner of the same root are found again: see ``running()``.
    ///
    /// - Parameters:
    ///   - uri: `nil`: `qemu:///embed?root=ROOT`. Any other libvirt URI of this host is used as it is.
    ///   - root: libvirt's state, logs and sockets. One process at a time. Absolute.
    ///   - cacheDirectory: what QEMU can do is kept in `libvirt` below it; finding that out takes seconds.
    ///   - emulator: QEMU's path, or its name in PATH.
    public static func open(
        uri: String? = nil, root: String, cacheDirectory: String, emulator: String = "qemu-system-x86_64", logger: Logger
    ) async throws(HypervisorError) -> Hypervisor {
        let path = try find(emulator: emulator)
        let embedded = EmbeddedRoot(path: root, cache: cacheDirectory + "/libvirt")
        if uri == nil {
            try embedded.prepare()
            ControlGroups.sweep()
        }
        embedded.takeLog()
        let (events, continuation) = AsyncStream.makeStream(of: VirtualMachineEvent.self)
        let callbacks = EventCallbacks(continuation)
        let calls = BlockingCalls()
        let connection = try await calls.run { () throws(HypervisorError) in
            try EventLoop.start()
            let connection = try VMMProcess.reapingEmulators { () throws(HypervisorError) in
                do throws(LibvirtFailure) {
                    return try Connection(uri: uri ?? embedded.uri)
                } catch {
                    throw ErrorMapping.opening(error.error, root: root, holder: embedded.holder)
                }
            }
            try callbacks.register(connection)
            return connection
        }
        logger.debug("libvirt is open", metadata: ["uri": "\(uri ?? embedded.uri)"])
        return Hypervisor(
            connection: connection, calls: calls, callbacks: callbacks, events: events, root: root, emulator: path,
            mark: MachineMark(root: root, uri: uri), logger: logger)
    }

    /// Disconnects. The machines live on.
    public func close() async {
        let first = closed.withLock { closed in
            defer { closed = true }
            return !closed
        }
        guard first else { return }
        let (connection, callbacks) = (connection, callbacks)
        try? await calls.run { () throws(HypervisorError) in
            callbacks.deregister(connection)
            connection.close()
        }
        callbacks.finish()
        calls.finish()
    }

    /// From here on the VMM is reaped when it ends, and counted.
    func hold(_ process: VMMProcess, of machine: String) {
        let new = processes.withLock { processes in
            if let known = processes[machine], known.pid == process.pid, known.uuid == process.uuid { return false }
            processes[machine] = process
            return true
        }
        if new { process.reapWhenItEnds() }
    }

    private static func find(emulator: String) throws(HypervisorError) -> String {
        if emulator.contains("/") {
            guard FileManager.default.isExecutableFile(atPath: emulator) else { throw .missingEmulator(emulator) }
            return emulator
        }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        for directory in path.split(separator: ":") {
            let candidate = "\(directory)/\(emulator)"
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
        }
        throw .missingEmulator("\(emulator) in PATH")
    }
}
