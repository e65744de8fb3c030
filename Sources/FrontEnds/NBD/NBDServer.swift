internal import CLinux
public import ClientStub
public import LinuxSystem

/// Serves the disks of a stub to NBD clients on a Unix socket: fixed newstyle handshake, an export per disk, any number of
/// connections to each.
///
/// All state is here, in values that live as long as the server: connections and requests in tables, each with a bound
/// (``NBDLimits``). Nothing is allocated per request that the disk takes as a whole. Requests are understood by
/// ``NBDTransmission``, checked by ``NBDRequest/verdict(on:structuredReplies:allocation:)``, and know nothing of the socket; the
/// socket part moves bytes between the socket and the service's buffers:
///
/// - one receive brings as many requests as there are; the rest of a long write is received straight into its buffer,
/// - the replies of one turn of the loop leave with one `sendmsg`, the data of reads straight from its buffers.
///
/// A client that goes away leaves its requests to finish; one that lies or stalls is cut off.
public struct NBDServer<Service: BlockService & ~Copyable>: FrontEnd, ~Copyable {
    let path: String
    let limits: NBDLimits
    let listener: OwnedDescriptor
    /// Of the socket's file.
    private let file: FileStatus
    private let log: @Sendable (String) -> Void
    var exports: [NBDExport] = []
    /// Bytes of each export's reads and writes that the service takes at once.
    var pieceLimits: [UInt32] = []
    var connections: ContiguousArray<NBDConnection> = []
    var pending = NBDRequestTable()
    var longBuffers = LongBuffers()
    /// Since ``turnEnds(loop:service:)`` looked.
    var isLongMemoryFreed = false
    /// Long requests whose next piece waits for a buffer, in the order of waiting.
    var starving: [UInt32] = []
    /// Connections with a request that waits for a buffer, in the order of arrival.
    var waiting: [Int] = []
    /// Connections that are looked at for bytes as long as the stub is awake.
    var hungry: [Int] = []
    /// Connections with replies to send before the next wait.
    var dirty: [Int] = []
    /// When clients were last looked over; nanoseconds of the loop's clock.
    var lastTick: UInt64 = 0
    var accepting = false
    var stopping = false
    public private(set) var clientCount = 0
    /// Nanoseconds of the loop's clock.
    public internal(set) var nextDeadline = UInt64.max
    /// There are as many clients as there may be, and the log says so.
    private var isCrowded = false

    /// Creates the socket at `path`, mode 0600; clients wait in its queue until ``start(loop:service:)``.
    ///
    /// `ENAMETOOLONG` when the path has more than 107 bytes, `EADDRINUSE` when something that is no socket is there. `log` gets
    /// sentences that an operator should see: a few in the server's life, whatever its clients do.
    public init(
        path: String, limits: NBDLimits = NBDLimits(), log: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(SystemError) {
        let listener = try UnixSocket.listen(path: path)
        file = try FileStatus(withoutFollowing: path)
        self.path = path
        self.limits = limits
        self.log = log
        self.listener = listener
    }

    public mutating func start(loop: inout EventLoop, service: inout Service) {
        if service.exportsKnown { learnExports(service) }
        accepting = true
        loop.acceptMany(listener.rawValue, NBDTag.accept.event)
    }

    public mutating func operationCompleted(
        _ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop, service: inout Service
    ) {
        guard let tag = NBDTag(value: value) else { return }
        switch tag.kind {
        case .accept:
            if flags & 2 == 0 { accepting = false }  // IORING_CQE_F_MORE
            accepted(result, loop: &loop, service: &service)
        case .receive:
            guard connections.indices.contains(tag.client) else { return }
            received(tag.client, result: result, loop: &loop, service: &service)
        case .send:
            guard connections.indices.contains(tag.client) else { return }
            sent(tag.client, result: result, loop: &loop, service: &service)
        }
    }

    public mutating func requestCompleted(_ completion: BlockCompletion, loop: inout EventLoop, service: inout Service) {
        guard let index = pending.index(ofTag: completion.tag) else { return }
        completed(index, completion.status, service: &service)
    }

    public mutating func buffersAvailable(loop: inout EventLoop, service: inout Service) {
        feedStarving(service: &service)
        // Everyone gets one try, in the order of waiting; who is unlucky again queues up again at its old place.
        let queue = waiting
        waiting.removeAll(keepingCapacity: true)
        for client in queue { advance(client, loop: &loop, service: &service) }
    }

    public mutating func turnEnds(loop: inout EventLoop, service: inout Service) {
        while true {
            while let client = dirty.popLast() {
                connections[client].isDirty = false
                flush(client, loop: &loop, service: &service)
            }
            // The service does not know of this memory, so nobody else tells those who wait for it.
            guard isLongMemoryFreed else { return }
            isLongMemoryFreed = false
            if !waiting.isEmpty { buffersAvailable(loop: &loop, service: &service) }
        }
    }

    private mutating func learnExports(_ service: borrowing Service) {
        exports = Self.offered(service, limits)
        pieceLimits = Self.pieceLimits(service)
    }

    public mutating func exportsBecameKnown(loop: inout EventLoop, service: inout Service) {
        learnExports(service)
        for client in connections.indices where connections[client].phase == .handshake {
            advance(client, loop: &loop, service: &service)
        }
    }

    public mutating func shutDown(loop: inout EventLoop, service: inout Service) {
        guard !stopping else { return }
        stopping = true
        if accepting { loop.cancelAll(on: listener.rawValue) }
        UnixSocket.remove(path, made: file)
        for client in connections.indices {
            switch connections[client].phase {
            case .handshake: close(client, service: &service)
            case .transmission: drain(client, service: &service)
            case .free, .draining, .closing: break
            }
        }
    }

    public var isFinished: Bool { stopping && !accepting && clientCount == 0 }

    // MARK: connections

    private mutating func accepted(_ result: Int32, loop: inout EventLoop, service: inout Service) {
        if result >= 0 {
            if stopping || clientCount >= limits.clients {
                _ = CLinux.close(result)
                if !stopping, !isCrowded {
                    isCrowded = true
                    log("\(clientCount) NBD clients are connected to \(path): further ones are turned away until one of them goes")
                }
            } else {
                isCrowded = false
                open(result, loop: &loop, service: &service)
            }
        }
        if !accepting && !stopping {
            if result == -EMFILE || result == -ENFILE || result == -ENOMEM {
                // Nothing to be gained by trying again at once.
                nextDeadline = min(nextDeadline, loop.now + Self.tick)
            } else {
                accepting = true
                loop.acceptMany(listener.rawValue, NBDTag.accept.event)
            }
        }
    }

    private mutating func open(_ socket: Int32, loop: inout EventLoop, service: inout Service) {
        let client: Int
        if let free = connections.firstIndex(where: { $0.phase == .free }) {
            client = free
        } else {
            client = connections.count
            connections.append(NBDConnection())
        }
        connections[client].open(socket, replies: limits.requestsPerClient, now: loop.now)
        // Refused or cut down (net.core.wmem_max), it only costs speed: what does not fit waits until the client has read.
        _ = clinux_set_buffer_sizes(socket, NBDLimits.sendBuffer, 0)
        clientCount += 1
        nextDeadline = min(nextDeadline, loop.now + Self.tick)
        answer(client, NBDHandshake.greeting, loop: &loop)
        receive(client)
    }

    /// Ends a connection at once: what is under way in the loop ends with an error, what the service has ends by itself.
    mutating func close(_ client: Int, service: inout Service) {
        guard connections[client].phase != .free, connections[client].phase != .closing else { return }
        connections[client].phase = .closing
        connections[client].isHungry = false
        // Receives and sends under way complete; no cancellation is needed, and the client notices at once.
        _ = CLinux.shutdown(connections[client].socket, 2)  // SHUT_RDWR
        dropUnsubmitted(client, service: &service)
        dropStarving(client, service: &service)
        let filling = connections[client].filling
        releaseReplies(client, bank: filling, service: &service)
        finishClosing(client)
    }

    /// Takes no more requests; closes when the last reply is sent.
    mutating func drain(_ client: Int, service: inout Service) {
        guard connections[client].phase == .transmission else { return }
        connections[client].phase = .draining
        connections[client].isHungry = false
        dropUnsubmitted(client, service: &service)
        closeIfDrained(client, service: &service)
    }

    mutating func closeIfDrained(_ client: Int, service: inout Service) {
        if connections[client].phase == .draining, connections[client].requests == 0, !connections[client].sending {
            close(client, service: &service)
        }
    }

    /// Frees a connection in which nothing is left to wait for.
    mutating func finishClosing(_ client: Int) {
        guard connections[client].phase == .closing, connections[client].isQuiet else { return }
        _ = CLinux.close(connections[client].socket)
        connections[client].free()
        clientCount -= 1
    }

    /// The request that waits for a buffer and the write whose data did not all come never reach the service.
    private mutating func dropUnsubmitted(_ client: Int, service: inout Service) {
        let request = connections[client].waiting
        if request != NBDConnection.none {
            connections[client].waiting = NBDConnection.none
            waiting.removeAll { $0 == client }
            finish(request, service: &service)
        }
        // A receive into the write's buffer may still be under way: then the buffer goes with the receive's completion.
        if !connections[client].receiving { dropWrite(client, service: &service) }
    }

    mutating func dropWrite(_ client: Int, service: inout Service) {
        let request = connections[client].writing
        guard request != NBDConnection.none else { return }
        connections[client].writing = NBDConnection.none
        finish(request, service: &service)
    }
}

/// What an operation of the server on the loop is, in the value of its tag: client × 4 + kind.
struct NBDTag {
    enum Kind: UInt64 { case accept, receive, send }

    let kind: Kind
    let client: Int

    static let accept = NBDTag(.accept, client: 0)

    @inline(__always)
    init(_ kind: Kind, client: Int) {
        self.kind = kind
        self.client = client
    }

    @inline(__always)
    init?(value: UInt64) {
        guard let kind = Kind(rawValue: value & 3), value >> 2 <= UInt64(UInt32.max) else { return nil }
        self.init(kind, client: Int(value >> 2))
    }

    var event: EventTag { EventTag(.frontEnd, UInt64(client) << 2 | kind.rawValue) }
}
