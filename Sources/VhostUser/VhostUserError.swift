/// Why a vhost-user session ended. Never a reason to trap: the peer wrote it, or is gone.
public enum VhostUserError: Error, Equatable, Sendable {
    /// The front end (the VMM) closed its socket.
    case disconnected
}
