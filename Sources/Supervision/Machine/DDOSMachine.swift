public import ControlModel
public import DroverConfiguration

/// What keeps one DD/OS alive: a value that takes inputs and says what to do. It does nothing itself, knows no clock and
/// no process, so that every order of events can be tested.
///
/// ```
///  stopped ─start─▶ preparing ─▶ starting(stub ▶ open ▶ VM) ─▶ booting ─▶ ready
///     ▲                 ▲                 │ failure              │          │
///     │                 │                 ▼                      ▼          ▼
///  stopping          backingOff ◀────── fencing ◀──────────────────────────┘
///     ▲ stop            quarantined ◀─────┘
/// ```
/// Fencing is the one way out of a life: whatever ended it, its VM is destroyed and reaped before anything else happens.
public struct DDOSMachine: Sendable, Equatable {
    public let policy: MachinePolicy
    public internal(set) var state: State
    /// What outlives a life, and the supervisor.
    public internal(set) var record: MachineRecord

    /// What may be why a life fails before its session is there, as the end of a sentence; said with the failure.
    var bootHint: String?

    /// Of the one timer there is; another number means an old timer.
    var timer: UInt64 = 0

    public init(policy: MachinePolicy, record: MachineRecord = MachineRecord()) {
        self.policy = policy
        self.record = record
        state = .stopped
    }

    public enum State: Sendable, Equatable {
        case stopped
        case preparing
        case starting(StartStep)
        case booting
        case ready
        case fencing(AfterFence)
        case backingOff
        case quarantined
        case stopping(StopStep, thenStart: Bool)
    }

    /// In this order, each after the one before is done.
    public enum StartStep: Sendable, Equatable {
        /// A client stub runs and is connected.
        case stub
        /// It accepts the new generation.
        case session
        case virtualMachine
    }

    public enum StopStep: Sendable, Equatable {
        /// Front ends closed, the stub gone.
        case stub
        /// The VM destroyed and reaped.
        case virtualMachine
    }

    public enum AfterFence: Sendable, Equatable {
        /// After a failure: the restart policy decides.
        case recover
        /// After a requested restart: at once.
        case relaunch
        case stop
    }

    /// The VM is being ended on request, and none is to follow.
    var isStoppingForGood: Bool { state == .stopping(.virtualMachine, thenStart: false) }

    public var phase: DDOSPhase {
        switch state {
        case .stopped: .stopped
        case .preparing: .preparing
        case .starting: .starting
        case .booting: .booting
        case .ready: .ready
        case .fencing: .fencing
        case .backingOff: .backingOff
        case .quarantined: .quarantined
        case .stopping: .stopping
        }
    }
}

/// The part of a configuration that the machine needs.
public struct MachinePolicy: Sendable, Equatable {
    public var bootDeadline: Double
    public var backoffMinimum: Double
    public var backoffMaximum: Double
    public var stableAfter: Double
    /// Nil: never.
    public var quarantineFailures: Int?
    public var quarantineWindow: Double
    public var failWhenQuarantined: Bool
    /// A VM that cannot be destroyed is tried again after this long.
    public var fenceRetry: Double = 1

    public init(_ configuration: DDOSConfiguration) {
        let restart = configuration.restart
        bootDeadline = configuration.bootDeadline.seconds
        backoffMinimum = restart.backoffMinimum.seconds
        backoffMaximum = restart.backoffMaximum.seconds
        stableAfter = restart.stableAfter.seconds
        quarantineFailures = restart.quarantine?.failures
        quarantineWindow = restart.quarantine?.within.seconds ?? 0
        failWhenQuarantined = restart.onQuarantine == .fail
    }
}

/// What a machine remembers over lives and, in `state.json`, over supervisors.
public struct MachineRecord: Sendable, Equatable, Codable {
    /// Of the latest life; 0 before the first.
    public var generation: UInt64 = 0
    public var restarts: Int = 0
    /// Time without a session because of failures, seconds.
    public var lostSeconds: Double = 0
    /// Within the quarantine window.
    public var failures: [Failure] = []
    /// Failures since it was last stable; the backoff grows with them.
    public var failuresInARow: Int = 0
    public var recoveries: [Recovery] = []
    /// The recovery that is going on.
    public var down: Outage?
    public var readySince: Moment?
    public var intent: Intent = .run
    /// Seconds, monotonic: since when it and its cost are counted.
    public var firstStarted: Double?

    public init() {}

    public enum Intent: String, Sendable, Codable {
        case run
        case stopped
        case quarantined
    }

    public struct Failure: Sendable, Equatable, Codable {
        public var at: Moment
        public var generation: UInt64
        public var cause: FailureCause
        public var reason: String
    }

    public struct Outage: Sendable, Equatable, Codable {
        public var failure: Failure
        public var fencedSeconds: Double?
        public var backoffSeconds: Double = 0
        public var startedSeconds: Double?
    }
}
