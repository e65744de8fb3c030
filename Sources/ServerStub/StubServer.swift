internal import CLinux
public import LinuxSystem
public import VirtioMessage
internal import Virtqueue

/// Serves the devices of one session: messages on a socket, requests in the pool, disks through one io_uring.
///
/// One thread; the ring is its only wait. Made and used on the same thread. Nothing that comes from the client is
/// trusted further than its checks.
public struct StubServer: ~Copyable {
    /// Settings of a server.
    public struct Options: Sendable {
        /// The longest poll before sleeping, in nanoseconds.
        public var pollCap: UInt64
        /// Virtqueues of each device.
        public var queueCount: Int

        public init(pollCap: UInt64 = 50_000, queueCount: Int = 4) {
            self.pollCap = pollCap
            self.queueCount = queueCount
        }
    }

    /// Why serving ended.
    public enum End: Equatable, Sendable {
        /// The client closed the connection.
        case closed
        /// The connection broke: errno.
        case failed(Int32)
        /// The client's byte stream makes no sense any more.
        case badStream
        /// The client asked for a fault; the caller brings it about.
        case injected(InjectedFault)
    }

    let socket: OwnedDescriptor
    let pool: ServerPool
    var ring: IoUring
    var bus: DeviceBus
    var requests: RequestTable
    var chain: DescriptorChain
    var inbox = MessageInbox()
    var outbox = MessageOutbox()
    var log: StubLog
    var isReceiving = false
    var isSending = false
    /// A request was waited for on this thread.
    var hasBlocked = false
    /// The driver has much to copy: it may be waiting for this processor.
    var givesTurn = false
    /// The pool is registered with the ring, so that the kernel need not look up its pages for each request.
    let hasFixedBuffers: Bool
    private var poll: AdaptivePoll
    private(set) var end: End?
    private var complaints = 0

    /// - Parameters:
    ///   - disks: takes a disk by its number; called once for each of `diskCount`.
    ///   - socket: connected, blocking.
    public init(
        socket: consuming OwnedDescriptor, pool: consuming ServerPool, diskCount: Int, log: consuming StubLog,
        options: Options = Options(), disks: (Int) -> ServedDisk
    ) throws(SystemError) {
        precondition(diskCount <= VirtioMessageLimits.devices && options.queueCount > 0)
        var ring = try IoUring(entries: 256, completions: 2048)
        var hasFixedBuffers = true
        do throws(SystemError) {
            // SAFETY: the pool outlives the ring's use of it, see `drain`.
            try unsafe ring.registerBuffers([pool.bytes])
        } catch {
            // Too little lockable memory (RLIMIT_MEMLOCK): slower, not wrong.
            hasFixedBuffers = false
        }
        self.hasFixedBuffers = hasFixedBuffers
        self.ring = ring
        let devices = FixedArray(count: diskCount) {
            ServedDevice(number: UInt16($0), disk: disks($0), queueCount: options.queueCount)
        }
        bus = DeviceBus(devices: devices, memory: pool.memory)
        requests = RequestTable(count: Int(ServedQueue.maximumSize) * 2)
        chain = DescriptorChain(capacity: BlockFeatures.maximumSegments + 2)
        poll = AdaptivePoll(cap: options.pollCap)
        self.socket = socket
        self.pool = pool
        self.log = log
    }

    /// Sends POOL and the names of the disks: the first messages of a connection.
    public mutating func announce() throws(SystemError) {
        let extents = pool.extents
        do throws(MessageError) {
            try outbox.pool(pageSize: pool.pageSize, isFile: pool.fileDescriptor != nil, extents: extents.span)
            for index in 0..<bus.devices.count {
                let name = Array(bus.devices[index].disk.description.name.utf8)
                try outbox.diskName(number: UInt16(index), name.span)
            }
        } catch {
            preconditionFailure("an empty outbox has room for the first messages")
        }
        // The descriptor travels with the first byte; io_uring's plain send could not carry it.
        if let descriptor = pool.fileDescriptor {
            let sent = try unsafe socket.send(outbox.pending, descriptors: [descriptor])
            outbox.sent(sent)
        }
        startReceiving()
    }

    /// Serves until the connection ends, then waits for what is under way on the disks.
    public mutating func serve() throws(SystemError) -> End {
        while true {
            if let end = try step() { return end }
        }
    }

    /// One turn: takes what has completed, acts on it, and waits if there was nothing to do.
    ///
    /// - Parameter canWait: false: return instead of sleeping.
    /// - Returns: why serving has ended, when it has.
    public mutating func step(canWait: Bool = true) throws(SystemError) -> End? {
        var worked = takeCompletions()
        handleMessages()
        worked = try serveQueues() || worked
        flushDoorbells()
        startSending()
        if let end {
            if case .injected = end { return end }
            try drain()
            return end
        }
        if worked {
            // A receive that was only armed again can wait for the next system call; a doorbell or a disk's work cannot.
            if isSending || requests.inFlight > 0 || ring.hasCompletions { try ring.submit() }
            if givesTurn {
                givesTurn = false
                Clock.yield()
            }
        } else if canWait, !pollForWork() {
            try sleep()
        } else {
            try ring.submit()
        }
        return nil
    }

    // MARK: waiting

    /// Looks for work for as long as the budget says.
    private mutating func pollForWork() -> Bool {
        guard poll.budget > 0 else { return false }
        // What was pushed has to be under way before there is anything to wait for.
        if ring.pendingSubmissions > 0 {
            do throws(SystemError) { try ring.submit() } catch { return false }
        }
        let deadline = Clock.monotonic() + poll.budget
        repeat {
            for _ in 0..<8 {
                if ring.hasCompletions || hasAvailable() {
                    poll.pollFoundWork()
                    return true
                }
                Clock.spinHint()
            }
            Clock.yield()
        } while Clock.monotonic() < deadline
        return false
    }

    private mutating func sleep() throws(SystemError) {
        if enableNotifications() {
            try ring.submit()
            return
        }
        let start = poll.cap > 0 ? Clock.monotonic() : 0
        try ring.submitAndWait(minimum: 1)
        if poll.cap > 0 { poll.slept(for: Clock.monotonic() &- start) }
    }

    /// Ends what is under way, so that the pool can be unmapped.
    private mutating func drain() throws(SystemError) {
        socket.shutdown()
        let deadline = Clock.monotonic() + 10_000_000_000
        while requests.inFlight > 0 || isReceiving || isSending {
            try ring.submitAndWait(minimum: 1, timeout: 100_000_000)
            _ = takeCompletions()
            // A disk that hangs: the process ends soon, and its memory with it.
            if Clock.monotonic() > deadline { throw SystemError(code: 110, call: "drain") }  // ETIMEDOUT
        }
    }

    /// Stops answering, for good. The connection stays open, as that of a stuck program would.
    ///
    /// The loop asks `end`, so that the compiler cannot know that it never returns: it would close the connection before it.
    mutating func hang() {
        while end != nil { Clock.sleep(nanoseconds: 1_000_000_000) }
    }

    /// Panics the guest's kernel while the connection is still open, so that the panic is what is noticed first.
    /// Returns only if that fails.
    mutating func panicGuest() {
        do throws(SystemError) { try Guest.panic() } catch { log.line(error.description) }
    }

    mutating func finish(_ reason: End) {
        if end == nil { end = reason }
    }

    /// Logs what a client did wrong. Only the first few: a hostile client must not fill the console.
    mutating func complain(_ text: String) {
        complaints += 1
        if complaints <= 32 { log.line(text) }
    }
}
