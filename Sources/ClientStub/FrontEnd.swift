/// What the host's programs see of a stub's disks, plugged into the stub's loop.
///
/// A front end is a value that the stub's driver owns and calls, one call at a time, always on the loop's thread. It
/// starts its own operations on the ``EventLoop`` with tags of ``EventOwner/frontEnd``, and gets their completions back
/// in ``operationCompleted(_:result:flags:loop:service:)``. No call may block, and none may throw: what goes wrong with
/// one client ends that client.
///
/// The front end is generic over the service, so that tests can put one in memory behind it; its hot methods are
/// specialised for the stub's own.
public protocol FrontEnd: ~Copyable {
    associatedtype Service: BlockService & ~Copyable

    /// Called once, before the first wait: listen, start accepting.
    mutating func start(loop: inout EventLoop, service: inout Service)

    /// An operation of this front end is done. `value` is what it put in the tag, `result` the system call's result or
    /// a negated errno, `flags` io_uring's completion flags (`IORING_CQE_F_MORE` for multishot operations).
    mutating func operationCompleted(
        _ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop, service: inout Service)

    /// A request of this front end is done.
    mutating func requestCompleted(_ completion: BlockCompletion, loop: inout EventLoop, service: inout Service)

    /// Called before every wait, when the turn's completions have been told: what was collected goes out now, so that many
    /// replies leave with one system call. May release buffers and submit requests like any other call.
    mutating func turnEnds(loop: inout EventLoop, service: inout Service)

    /// Takes what clients have sent, without waiting and without the loop: while the stub is busy or looks at the rings, a plain system call is
    /// cheaper than an operation that is armed, completes and is fetched. True: there was something.
    mutating func lookAround(loop: inout EventLoop, service: inout Service) -> Bool

    /// The stub goes to sleep: what ``lookAround(loop:service:)`` would have found has to wake it from now on.
    mutating func sleeps(loop: inout EventLoop, service: inout Service)

    /// ``BlockService/allocate(bytes:)`` had answered `nil`, and something was released since.
    mutating func buffersAvailable(loop: inout EventLoop, service: inout Service)

    /// The exports have become known: clients that were waiting for them can go on.
    mutating func exportsBecameKnown(loop: inout EventLoop, service: inout Service)

    /// The next moment at which ``deadlineReached(loop:service:)`` has to be called, in nanoseconds of the loop's clock,
    /// or `UInt64.max`. Read before every wait: keep it a stored value.
    var nextDeadline: UInt64 { get }

    /// ``nextDeadline`` has passed (`loop.now`). May be late, never early.
    mutating func deadlineReached(loop: inout EventLoop, service: inout Service)

    /// Stop accepting; finish what clients have asked for; then close and unlink. The stub goes on turning its loop
    /// until ``isFinished``, or until its own patience ends, and then exits.
    mutating func shutDown(loop: inout EventLoop, service: inout Service)

    /// True when, after ``shutDown(loop:service:)``, no operation of this front end is left in the loop.
    var isFinished: Bool { get }

    /// Connected clients, for the status.
    var clientCount: Int { get }
}

/// The front end of a stub that offers its disks to nobody.
public struct NoFrontEnd<Service: BlockService & ~Copyable>: FrontEnd {
    public init() {}
    public mutating func start(loop: inout EventLoop, service: inout Service) {}
    public mutating func operationCompleted(
        _ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop, service: inout Service
    ) {}
    public mutating func requestCompleted(_ completion: BlockCompletion, loop: inout EventLoop, service: inout Service) {}
    public mutating func turnEnds(loop: inout EventLoop, service: inout Service) {}
    public mutating func lookAround(loop: inout EventLoop, service: inout Service) -> Bool { false }
    public mutating func sleeps(loop: inout EventLoop, service: inout Service) {}
    public mutating func buffersAvailable(loop: inout EventLoop, service: inout Service) {}
    public mutating func exportsBecameKnown(loop: inout EventLoop, service: inout Service) {}
    public var nextDeadline: UInt64 { .max }
    public mutating func deadlineReached(loop: inout EventLoop, service: inout Service) {}
    public mutating func shutDown(loop: inout EventLoop, service: inout Service) {}
    public var isFinished: Bool { true }
    public var clientCount: Int { 0 }
}
