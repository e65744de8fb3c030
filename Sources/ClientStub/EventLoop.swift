public import CLinux
public import LinuxSystem

/// The stub's one wait primitive: an io_uring on which every socket, eventfd and timer of the process lives.
///
/// Operations are only queued here; one system call per turn submits them all and waits. Completions go to the tag's
/// owner. Nothing is allocated per operation. Buffers and descriptors have to stay valid until the operation's
/// completion has come, also after ``cancel(_:)``.
// SAFETY: pointers only pass through to the submission queue; the promise above, which every caller makes, is what keeps the kernel's
// use of them sound.
public struct EventLoop: ~Copyable {
    /// The monotonic clock in nanoseconds, read once after every wait.
    public private(set) var now: UInt64
    private var ring: IoUring
    /// The kernel did not take an operation that was queued: its owner would wait for ever, so the next wait ends the loop.
    private var refusal: SystemError?

    /// Accepts connections until cancelled; the result of each completion is a new descriptor, close-on-exec
    /// (and blocking). A completion without `IORING_CQE_F_MORE` was the last one: accept again.
    public mutating func acceptMany(_ listener: Int32, _ tag: EventTag) {
        push(.accept(listener, multishot: true), tag)
    }

    /// Receives into `buffer`. With `waitAll` the completion comes when the buffer is full, the peer has closed or an
    /// error has happened; otherwise as soon as there is any byte. Result 0: the peer has closed.
    public mutating func receive(_ socket: Int32, into buffer: UnsafeMutableRawBufferPointer, waitAll: Bool, _ tag: EventTag) {
        // SAFETY, here and below: the owner of the buffer keeps it alive until the completion with its tag has come.
        unsafe push(.receive(socket, into: buffer, flags: waitAll ? Self.waitAll : 0), tag)
    }

    /// Sends all of `buffer` (the kernel goes on after a short send). `more` says that another send follows at once, so
    /// that both leave as one (MSG_MORE). A peer that is gone gives EPIPE, never a signal.
    ///
    /// Two sends on one socket must not be queued at the same time, unless the first is `linked` to the second: then they
    /// run in order, and when one fails or is short, the rest of the chain completes with ECANCELED.
    public mutating func send(
        _ socket: Int32, _ buffer: UnsafeRawBufferPointer, more: Bool = false, linked: Bool = false, _ tag: EventTag
    ) {
        let operation = unsafe IoOperation.send(socket, from: buffer, flags: Self.waitAll | (more ? Self.more : 0))
        push(linked ? operation.linkedToNext() : operation, tag)
    }

    /// Receives into several places with one call: `recvmsg`, as soon as there is any byte. The message header, its vector and
    /// its buffers stay valid and untouched until the completion. A front end uses it to get the rest of a write's
    /// data into its buffer and the requests behind it with the same call.
    public mutating func receiveMessage(_ socket: Int32, _ message: UnsafeMutablePointer<msghdr>, _ tag: EventTag) {
        unsafe push(.receiveMessage(socket, message), tag)
    }

    /// Sends from several places with one call: `sendmsg` without SIGPIPE. May send less than all: the result says how much.
    /// The message header, its vector and its buffers stay valid and untouched until the completion.
    public mutating func sendMessage(_ socket: Int32, _ message: UnsafePointer<msghdr>, _ tag: EventTag) {
        unsafe push(.sendMessage(socket, message), tag)
    }

    /// Waits until the descriptor is readable (`POLLIN`) or whatever `events` names; one completion per call, its result
    /// the events.
    public mutating func poll(_ descriptor: Int32, events: Int16, _ tag: EventTag) {
        push(.poll(descriptor, events: Int32(events)), tag)
    }

    /// Reads `buffer.count` bytes at most from a descriptor that has no offset (eventfd, signalfd, pipe).
    public mutating func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, _ tag: EventTag) {
        unsafe push(.read(descriptor, into: buffer, at: nil), tag)
    }

    /// Writes to a descriptor that has no offset.
    public mutating func write(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, _ tag: EventTag) {
        unsafe push(.write(descriptor, from: buffer, at: nil), tag)
    }

    /// Cancels every operation with this tag. Each still completes: with ECANCELED, or with its result if that was
    /// quicker. The cancellation itself reports to nobody.
    public mutating func cancel(_ tag: EventTag) {
        push(.cancel(tag.userData), .nobody)
    }

    /// Cancels every operation on this descriptor. Call it before closing one with operations under way.
    public mutating func cancelAll(on descriptor: Int32) {
        push(.cancelAll(on: descriptor), .nobody)
    }

    // MARK: the driver's

    /// The kernel has no io_uring, or refuses one: `ENOSYS`, `EPERM`, `ENOMEM`.
    public init(entries: UInt32 = 512) throws(SystemError) {
        ring = try IoUring(entries: entries)
        now = Clock.monotonic()
    }

    /// Submits what is queued, and sleeps until a completion is there or `deadline` (nanoseconds of ``now``'s clock; `.max`: none).
    ///
    /// Throws when the kernel has refused an operation: whoever turns the loop says so, and ends.
    public mutating func wait(until deadline: UInt64) throws(SystemError) {
        if let refusal { throw refusal }
        if deadline == .max {
            try ring.submitAndWait(minimum: 1)
        } else {
            now = Clock.monotonic()
            try ring.submitAndWait(minimum: deadline > now ? 1 : 0, timeout: deadline > now ? deadline - now : 0)
        }
        now = Clock.monotonic()
    }

    /// Submits what is queued without waiting.
    public mutating func submit() throws(SystemError) {
        if let refusal { throw refusal }
        try ring.submit()
        now = Clock.monotonic()
    }

    /// Reads the clock anew, for a loop that polls.
    public mutating func updateNow() { now = Clock.monotonic() }

    /// The ring's, for tests of what happens without it.
    var ringDescriptor: Int32 { ring.rawDescriptor }

    /// Whether ``next()`` would find something after a ``submit()``.
    public var hasCompletions: Bool { ring.hasCompletions }

    /// The next completion that came.
    public mutating func next() -> IoCompletion? { ring.nextCompletion() }

    private mutating func push(_ operation: IoOperation, _ tag: EventTag) {
        do {
            try ring.push(operation, userData: tag.userData)
        } catch {
            // The submission queue is full and the kernel takes nothing, because completions wait to be consumed
            // (EBUSY) or memory is short (EAGAIN): both pass without this thread only in the second case, so the
            // operation would be lost, and its owner would wait for ever. The completion queue is eight times as long as
            // the submission queue and overflows into kernel memory, so this is out of memory or a bug: better a
            // stub that says so and is replaced by its supervisor than one that hangs.
            refusal = refusal ?? error
        }
    }

    private static let waitAll: Int32 = 0x100  // MSG_WAITALL, an enum in glibc
    private static let more: Int32 = 0x8000  // MSG_MORE
}
