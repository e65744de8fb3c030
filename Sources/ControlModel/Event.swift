public import Foundation

/// Something that happened, as `drover events` prints it and `events.jsonl` keeps it.
public struct Event: Codable, Sendable, Equatable {
    /// Grows by one with each event, over restarts of `droverd` too. The first is 1.
    public var sequence: UInt64
    public var time: Date
    /// Nil for events of the supervisor itself.
    public var ddos: String?
    public var kind: EventKind
    /// One sentence for people.
    public var message: String
    public var generation: UInt64?
    /// With ``EventKind/failed``.
    public var cause: FailureCause?
    /// With ``EventKind/recovered``.
    public var recovery: Recovery?

    public init(
        sequence: UInt64, time: Date, ddos: String? = nil, kind: EventKind, message: String, generation: UInt64? = nil,
        cause: FailureCause? = nil,
        recovery: Recovery? = nil
    ) {
        self.sequence = sequence
        self.time = time
        self.ddos = ddos
        self.kind = kind
        self.message = message
        self.generation = generation
        self.cause = cause
        self.recovery = recovery
    }
}

/// What an event is about, for programs to switch over.
public enum EventKind: String, Codable, Sendable, CaseIterable {
    case supervisorStarted
    case supervisorStopped
    /// The image is being built; `message` tells how far.
    case imageProgress
    case imageReady
    /// The VM runs.
    case started
    /// The first session of a DD/OS that was not down by failure.
    case ready
    /// A life ended without anyone asking for it.
    case failed
    /// The dead life's VMM is gone and reaped.
    case fenced
    /// Ready again after a failure; carries the ``Recovery``.
    case recovered
    case backingOff
    case quarantined
    case stopped
    /// A running DD/OS was found again by a new `droverd`.
    case adopted
    /// A running DD/OS that the configuration no longer names was stopped.
    case orphanStopped
    /// A PCI device was taken from the host's driver.
    case deviceTaken
    /// It was given back.
    case deviceReturned
    case stubStarted
    case stubLost
    /// A fault was injected on request.
    case injected
    /// Text from the guest.
    case guestLog
    /// The wire of a network DD/OS was connected or disconnected.
    case linkChanged
    case warning
}

/// One recovery in figures. Durations are seconds since the failure was noticed, each including those before it.
public struct Recovery: Codable, Sendable, Equatable {
    /// When the failure was noticed.
    public var noticed: Date
    public var cause: FailureCause
    public var reason: String
    /// The generation that died.
    public var generation: UInt64
    /// Until the old VMM was gone and reaped.
    public var fencedSeconds: Double
    /// Spent waiting by the restart policy.
    public var backoffSeconds: Double
    /// Until the new VM ran.
    public var startedSeconds: Double
    /// Until requests flowed again: the whole recovery.
    public var readySeconds: Double
    /// Requests that were in flight and put on the new queue.
    public var replayed: Int

    public init(
        noticed: Date, cause: FailureCause, reason: String, generation: UInt64, fencedSeconds: Double, backoffSeconds: Double,
        startedSeconds: Double, readySeconds: Double, replayed: Int
    ) {
        self.noticed = noticed
        self.cause = cause
        self.reason = reason
        self.generation = generation
        self.fencedSeconds = fencedSeconds
        self.backoffSeconds = backoffSeconds
        self.startedSeconds = startedSeconds
        self.readySeconds = readySeconds
        self.replayed = replayed
    }
}
