public import StubControl

/// Where supervisors speak to the stub: any number of them, one after the other or together. The stub survives them all.
///
/// Plugged into the loop like a ``FrontEnd``; its operations carry tags of ``EventOwner/control``. StubControl has the words.
public protocol SupervisorPort: ~Copyable {
    /// Called once, before the first wait.
    mutating func start(loop: inout EventLoop)

    /// An operation of this port is done.
    mutating func operationCompleted(_ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop)

    /// The next command that came, and what its answer has to name.
    mutating func nextCommand() -> (ticket: UInt64, command: StubCommand.Action)?

    /// Answers a command: each one once, at once or later.
    mutating func answer(_ ticket: UInt64, _ answer: StubReply, loop: inout EventLoop)

    /// Tells every supervisor what happened.
    mutating func announce(_ event: StubEvent, loop: inout EventLoop)

    /// The stub ends: sends what can be sent at once, closes and unlinks.
    mutating func close(loop: inout EventLoop)
}
