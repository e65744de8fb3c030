/// Why a session ended, for policy to switch over. The same words as on the control socket.
public enum SessionLoss: String, Sendable, Equatable {
    /// The VMM or the server stub is gone.
    case hangUp
    /// The DD/OS said something that must not be.
    case protocolViolation
    /// It does not answer any more.
    case pingTimeout
    /// It did not finish a request in time.
    case requestDeadline
    /// It came up, and did not get as far as a session.
    case handshakeTimeout
}

/// The end of a session: what policy has to know, and what a person wants to know. Thrown wherever something that the
/// DD/OS wrote is wrong; never a trap.
public struct SessionEnd: Error, Equatable, Sendable {
    public var loss: SessionLoss
    /// A sentence without a full stop, for the event stream.
    public var reason: String

    public init(_ loss: SessionLoss, _ reason: String) {
        self.loss = loss
        self.reason = reason
    }

    static func violation(_ reason: String) -> SessionEnd { SessionEnd(.protocolViolation, reason) }
}
