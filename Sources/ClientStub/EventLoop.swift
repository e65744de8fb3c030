public import CLinux

/// The stub's one wait primitive: an io_uring on which every socket, eventfd and timer of the process lives.
///
/// Operations are only queued here; one system call per turn submits them all and waits. Completions go to the tag's
/// owner. Nothing is allocated per operation. Buffers and descriptors have to stay valid until the operation's
/// completion has come, also after ``cancel(_:)``.
public struct EventLoop: ~Copyable {
    /// The monotonic clock in nanoseconds, read once after every wait.
    public private(set) var now: UInt64

    /// Accepts connections until cancelled; the result of each completion is a new descriptor, non-blocking and
    /// close-on-exec. A completion without `IORING_CQE_F_MORE` was the last one: accept again.
    public mutating func acceptMany(_ listener: Int32, _ tag: EventTag) {}

    /// Receives into `buffer`. With `waitAll` the completion comes when the buffer is full, the peer has closed or an
    /// error has happened; otherwise as soon as there is any byte. Result 0: the peer has closed.
    public mutating func receive(_ socket: Int32, into buffer: UnsafeMutableRawBufferPointer, waitAll: Bool, _ tag: EventTag) {}

    /// Sends all of `buffer` (the kernel goes on after a short send). `more` says that another send follows at once, so
    /// that both leave as one (MSG_MORE). A peer that is gone gives EPIPE, never a signal.
    ///
    /// Two sends on one socket must not be queued at the same time, unless the first is `linked` to the second: then they
    /// run in order, and when one fails or is short, the rest of the chain completes with ECANCELED.
    public mutating func send(
        _ socket: Int32, _ buffer: UnsafeRawBufferPointer, more: Bool = false, linked: Bool = false, _ tag: EventTag
    ) {}

    /// Receives into several places with one call: `recvmsg`, as soon as there is any byte. The message header, its vector and
    /// its buffers stay valid and untouched until the completion. A front end uses it to get the rest of a write's
    /// data into its buffer and the requests behind it with the same call.
    public mutating func receiveMessage(_ socket: Int32, _ message: UnsafeMutablePointer<msghdr>, _ tag: EventTag) {}

    /// Sends from several places with one call: `sendmsg` without SIGPIPE. May send less than all: the result says how much.
    /// The message header, its vector and its buffers stay valid and untouched until the completion.
    public mutating func sendMessage(_ socket: Int32, _ message: UnsafePointer<msghdr>, _ tag: EventTag) {}

    /// Waits until the descriptor is readable (`POLLIN`) or whatever `events` names; one completion per call, its result
    /// the events.
    public mutating func poll(_ descriptor: Int32, events: Int16, _ tag: EventTag) {}

    /// Reads `buffer.count` bytes at most from a descriptor that has no offset (eventfd, signalfd, pipe).
    public mutating func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, _ tag: EventTag) {}

    /// Writes to a descriptor that has no offset.
    public mutating func write(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, _ tag: EventTag) {}

    /// Cancels every operation with this tag. Each still completes: with ECANCELED, or with its result if that was
    /// quicker. The cancellation itself reports to nobody.
    public mutating func cancel(_ tag: EventTag) {}

    /// Cancels every operation on this descriptor. Call it before closing one with operations under way.
    public mutating func cancelAll(on descriptor: Int32) {}

    init() { now = 0 }
}
