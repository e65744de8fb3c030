public import VirtioMessage

/// What is at this end of a ``ServerLink``: the session with one life of a server stub.
///
/// Does no I/O: messages come in here, answers go to the outbox. What the DD/OS says wrongly is thrown.
public protocol LinkedSession: ~Copyable {
    /// Whether the DD/OS is connected, with a session or on the way to one.
    var isConnected: Bool { get }
    /// The DD/OS has connected.
    mutating func beginSession(now: UInt64)
    /// It has said where its pool is.
    mutating func poolArrived(_ region: consuming PoolRegion, _ outbox: inout MessageOutbox, now: UInt64) throws(SessionEnd)
    /// Any other message; a POOL without extents is one. `bytes` are all of the message's.
    mutating func received(
        _ message: DeviceMessage, _ header: MessageHeader, _ bytes: Span<UInt8>, _ outbox: inout MessageOutbox, now: UInt64
    ) throws(SessionEnd)
}
