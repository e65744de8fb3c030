public import StubControl

/// The end of a session: what policy has to know, and what a person wants to know. Thrown wherever something that the
/// DD/OS wrote is wrong; never a trap.
public struct SessionEnd: Error, Equatable, Sendable {
    public var loss: SessionLossCause
    /// A sentence without a full stop, for the event stream.
    public var reason: String

    public init(_ loss: SessionLossCause, _ reason: String) {
        self.loss = loss
        self.reason = reason
    }

    public static func violation(_ reason: String) -> SessionEnd { SessionEnd(.protocolViolation, reason) }
}
