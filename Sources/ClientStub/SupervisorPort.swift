/// What a supervisor can ask of the stub. StubControl documents each; this room does not know how they travel.
public enum SupervisorCommand: Sendable, Equatable {
    case status
    case open(generation: UInt64)
    case close(reason: String)
    case inject(InjectedStubFault)
    case fail(reason: String)
    case shutdown
}

/// A fault that the server stub is asked to bring about itself.
public enum InjectedStubFault: Sendable, Equatable {
    case hang, panic
}

/// The answer to a ``SupervisorCommand``.
public enum SupervisorAnswer: Sendable {
    case done
    case status(StubSnapshot)
    case refused(String)
}

/// State and counters of the stub at one moment.
public struct StubSnapshot: Sendable {
    public var state: EngineState
    public var generation: UInt64
    public var exports: [BlockExport]
    public var inFlight: Int
    public var held: Int
    public var counters: EngineCounters
    public var clients: Int
}

/// Where supervisors speak to the stub: any number of them, one after the other or together. The stub survives them all.
///
/// Plugged into the loop like a ``FrontEnd``; its operations carry tags of ``EventOwner/control``.
public protocol SupervisorPort: ~Copyable {
    /// Called once, before the first wait.
    mutating func start(loop: inout EventLoop)

    /// An operation of this port is done.
    mutating func operationCompleted(_ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop)

    /// The next command that came, and what its answer has to name.
    mutating func nextCommand() -> (ticket: UInt64, command: SupervisorCommand)?

    /// Answers a command.
    mutating func answer(_ ticket: UInt64, _ answer: SupervisorAnswer, loop: inout EventLoop)

    /// Tells every supervisor what happened.
    mutating func announce(_ event: EngineEvent, exports: [BlockExport], loop: inout EventLoop)

    /// The stub ends: sends what can be sent at once, closes and unlinks.
    mutating func close(loop: inout EventLoop)
}
