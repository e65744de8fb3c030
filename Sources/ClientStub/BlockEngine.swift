import Virtqueue

/// How a ``BlockEngine`` behaves. Times are nanoseconds.
public struct EngineConfiguration: Sendable {
    /// A request that the DD/OS has for longer ends its session.
    public var requestDeadline: UInt64 = 10_000_000_000
    /// How long a request is held while there is no session, before it fails. `.max`: for ever; 0: not at all.
    public var holdLimit: UInt64 = .max
    /// Silence before the DD/OS is asked whether it lives.
    public var pingInterval: UInt64 = 500_000_000
    /// The same while no request is in flight: the first one after a rest makes a question due at once, so that nobody waits longer for it.
    public var restingPingInterval: UInt64 = 5_000_000_000
    /// How long the answer may take.
    public var pingTimeout: UInt64 = 3_000_000_000
    /// Each answer of the handshake may take this long…
    public var stepTimeout: UInt64 = 5_000_000_000
    /// …and all of it, from the connection on, this long.
    public var handshakeTimeout: UInt64 = 15_000_000_000
    /// Requests in flight per disk; a power of two. The DD/OS may take fewer.
    public var queueSize: UInt16 = 256
    /// The largest read or write that front ends may submit, in bytes: what the smallest pool of Drover's images (8 MiB) is good for. A
    /// smaller pool allows less. Front ends take longer requests from their clients, and split them.
    public var maximumRequestBytes: UInt32 = 1 << 20
    /// How much write data can wait for a session, in bytes.
    public var holdingBytes = 8 << 20

    public init() {}
}

/// Where an engine stands. The same words as on the control socket.
public enum EngineState: String, Sendable, Equatable {
    /// No life of the DD/OS is allowed yet.
    case closed
    /// A life is allowed; no session yet.
    case waiting
    /// Requests flow.
    case ready
    /// Quarantined: requests fail.
    case failing
}

/// What supervisors are told.
public enum EngineEvent: Sendable, Equatable {
    case sessionReady(generation: UInt64, replayed: Int)
    case sessionLost(generation: UInt64, SessionEnd)
    case guestLog(String)
}

/// Counts since the stub started.
public struct EngineCounters: Sendable, Equatable {
    public var completed: UInt64 = 0
    public var failed: UInt64 = 0
    public var replayed: UInt64 = 0
    public var bytesRead: UInt64 = 0
    public var bytesWritten: UInt64 = 0
    public var doorbellsSent: UInt64 = 0
    public var doorbellsReceived: UInt64 = 0
    public var sessionsLost: UInt64 = 0
    /// Nanoseconds, of the last recovery: from the last completion before it (or the first request that had to wait) to the
    /// first after it.
    public var lastRecoveryGap: UInt64 = 0
}

/// The virtio driver of a DD/OS's disks: its session, the requests in flight, and their second life after a failure.
///
/// Does no I/O of its own: bytes come in as messages and go out through an outbox; the driver (``StubDriver``) moves them.
/// Whatever the DD/OS says wrongly is thrown as a ``SessionEnd``; the caller then calls ``endSession(_:now:)``.
public struct BlockEngine: ~Copyable, BlockService, LinkedSession {
    public let configuration: EngineConfiguration
    public internal(set) var state: EngineState = .closed
    /// Of the life that is allowed, or was last.
    public internal(set) var generation: UInt64 = 0
    public internal(set) var exports: [BlockExport] = []
    public internal(set) var exportsKnown = false
    /// The disks' own serial numbers, in the order of ``exports``; empty for one that has none.
    var serials: [String] = []
    public internal(set) var counters = EngineCounters()

    var requests = RequestTable(exports: 0, capacity: 256)
    var buffers: BufferTable
    var queues = QueueList()
    /// For each export the place of its queue in `queues`, while there is a session.
    var queueOfExport: [Int] = []
    /// Completions that front ends have not taken yet: `completed[firstCompleted...]`.
    var completed: [BlockCompletion] = []
    var firstCompleted = 0
    var events: [EngineEvent] = []
    var handshake: Handshake?
    /// The pool of the session that the handshake leads to.
    var pendingRegion: PoolRegion?
    var liveness = Liveness()
    var logLimit = GuestLogLimit()
    var isShuttingDown = false
    /// A queue refused what the stub itself put on it.
    var brokenQueue: SessionEnd?
    /// In flight when sessions ended, and not sent again yet.
    var lostInFlight = 0
    /// The loop's clock as of the turn under way.
    var now: UInt64 = 0
    /// When the DD/OS was lost, or the stub started: held requests count from here.
    var downSince: UInt64 = 0
    /// Requests wait for a recovery whose gap is to be measured from here.
    var gapStart: UInt64?
    var lastCompletionAt: UInt64 = 0
    /// Set when the exports have become known, for front ends; the driver clears it.
    var exportsAreNews = false

    public init(_ configuration: EngineConfiguration, now: UInt64) {
        self.configuration = configuration
        buffers = BufferTable(holdingBytes: configuration.holdingBytes)
        completed.reserveCapacity(512)
        self.now = now
        downSince = now
    }

    /// Requests that the DD/OS has.
    public var inFlight: Int { requests.inFlightCount }
    /// Requests that wait for it.
    public var held: Int { requests.heldCount }
    /// Pools of ended sessions that are still mapped.
    public var endedPools: Int { buffers.endedPools }

    // MARK: BlockService

    public var bufferLimit: Int { Int(configuration.maximumRequestBytes) }

    public var handshakePatience: UInt64 { state == .failing ? 0 : configuration.holdLimit }

    public mutating func allocate(bytes: Int) -> BufferHandle? {
        if state == .ready, requests.heldCount > 0, buffers.hasStrays {
            // Requests of before have to move into this pool first: new ones would take their room, and wait behind them.
            buffers.starved = true
            return nil
        }
        guard bytes <= bufferLimit, let index = buffers.allocate(bytes: bytes) else { return nil }
        return BufferHandle(index: index)
    }

    // SAFETY: a handle that was given out and not released names memory of this engine; who holds it says when it ends.
    public func pointer(of buffer: BufferHandle) -> UnsafeMutableRawBufferPointer { unsafe buffers.bytes(of: buffer.index) }

    public mutating func release(_ buffer: BufferHandle) { buffers.release(buffer.index) }

    public mutating func submit(
        export: Int, operation: BlockOperation, offset: UInt64, length: UInt32, fua: Bool, buffer: BufferHandle?, tag: UInt64
    ) {
        if let refusal = refusal(export, operation, offset, length, buffer) {
            if refusal != .ok { counters.failed += 1 }
            completed.append(BlockCompletion(tag: tag, status: refusal))
            return
        }
        let index = requests.add(
            export: export, operation: operation, offset: offset, length: length, fua: fua && exports[export].canFlush,
            buffer: buffer?.index ?? RequestTable.none, tag: tag, now: now)
        if state == .ready {
            sendHeld(export: export)
        } else if configuration.holdLimit == 0 {
            finish(index, .ioError)
        }
    }

    /// Why a request never reaches the DD/OS; `.ok`: because there is nothing to do; `nil`: it does.
    private func refusal(
        _ export: Int, _ operation: BlockOperation, _ offset: UInt64, _ length: UInt32, _ buffer: BufferHandle?
    ) -> BlockStatus? {
        if isShuttingDown { return .shuttingDown }
        guard export >= 0, export < exports.count else { return .invalid }
        if state == .failing { return .ioError }
        if operation == .flush { return exports[export].canFlush ? nil : .ok }
        let disk = exports[export]
        let largest: UInt32
        switch operation {
        case .read, .write:
            guard let buffer, unsafe buffers.bytes(of: buffer.index).count >= Int(length) else { return .invalid }
            largest = disk.maxRequestBytes
        case .discard: largest = disk.maxDiscardBytes
        case .writeZeroes: largest = disk.maxWriteZeroesBytes
        case .flush: largest = 0
        }
        if operation != .read, disk.readOnly { return .readOnly }
        if operation == .discard, !disk.canDiscard { return .unsupported }
        if operation == .writeZeroes, !disk.canWriteZeroes { return .unsupported }
        let mask = UInt64(disk.blockSize) - 1
        guard length > 0, length <= largest, offset <= disk.size, UInt64(length) <= disk.size - offset,
            (offset | UInt64(length)) & mask == 0
        else { return .invalid }
        return nil
    }

    /// True once after ``allocate(bytes:)`` found nothing and something was released since.
    mutating func takeBuffersAvailable() -> Bool {
        guard buffers.starved, buffers.releasedSome, requests.heldCount == 0 || !buffers.hasStrays else { return false }
        buffers.starved = false
        buffers.releasedSome = false
        return true
    }

    // MARK: completions

    /// Something can be done without waiting for anybody.
    var hasWork: Bool { firstCompleted < completed.count || exportsAreNews || !events.isEmpty || hasUsed }

    /// The next request that is done, for its front end.
    public mutating func nextCompletion() -> BlockCompletion? {
        guard firstCompleted < completed.count else {
            if firstCompleted > 0 {
                completed.removeAll(keepingCapacity: true)
                firstCompleted = 0
            }
            return nil
        }
        defer { firstCompleted += 1 }
        return completed[firstCompleted]
    }

    /// Forgets a request and tells its front end.
    mutating func finish(_ index: UInt32, _ status: BlockStatus) {
        let request = requests.remove(index)
        if status == .ok {
            counters.completed += 1
            if request.operation == .read { counters.bytesRead += UInt64(request.length) }
            if request.operation == .write { counters.bytesWritten += UInt64(request.length) }
        } else {
            counters.failed += 1
        }
        if let start = gapStart, state == .ready {
            counters.lastRecoveryGap = now >= start ? now - start : 0
            gapStart = nil
        }
        lastCompletionAt = now
        completed.append(BlockCompletion(tag: request.tag, status: status))
    }

    /// The next thing that supervisors have to hear.
    public mutating func nextEvent() -> EngineEvent? { events.isEmpty ? nil : events.removeFirst() }
}
