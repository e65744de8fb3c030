/// Who gets the completion of an operation on the ``EventLoop``.
public enum EventOwner: UInt8, Sendable {
    /// Nobody: the completion is dropped (cancellations, replies to a peer that is going away).
    case nobody = 0
    /// The stub's own: listening sockets, signals.
    case driver
    /// The server stub's transport: vhost-user socket, kicks, or the native socket.
    case transport
    /// Supervisors' connections.
    case control
    /// The front end.
    case frontEnd
}

/// io_uring's `user_data`: who, and a word of their own.
///
///     63      56 55                                      0
///     ┌─────────┬─────────────────────────────────────────┐
///     │ owner   │ value (the owner's own)                 │
///     └─────────┴─────────────────────────────────────────┘
public struct EventTag: Sendable, Equatable {
    public static let valueMask: UInt64 = (1 << 56) - 1

    public let owner: EventOwner
    /// 56 bits; higher bits are dropped.
    public let value: UInt64

    @inlinable
    public init(_ owner: EventOwner, _ value: UInt64) {
        self.owner = owner
        self.value = value & Self.valueMask
    }

    /// From a completion. A tag that this process never made maps to ``EventOwner/nobody``.
    @inlinable
    public init(userData: UInt64) {
        owner = EventOwner(rawValue: UInt8(truncatingIfNeeded: userData >> 56)) ?? .nobody
        value = userData & Self.valueMask
    }

    @inlinable
    public var userData: UInt64 { UInt64(owner.rawValue) << 56 | value }

    public static let nobody = EventTag(.nobody, 0)
}
