/// What a client may use up. All bounds are per server process unless they say otherwise.
public struct NBDLimits: Sendable {
    /// Connections at a time; more are closed at once.
    public var clients = 64
    /// Requests of one client that are not answered yet; further ones stay in its socket.
    public var requestsPerClient = 128
    /// Pool bytes that one client's requests may hold; a request larger than that is let through alone.
    public var bytesPerClient = 8 << 20
    /// The longest read or write that clients are told of, in bytes: what a client that does not ask may take for granted. It goes in
    /// pieces that the disk takes.
    public var longestPayload: UInt32 = 32 << 20
    /// Private memory that reads and writes in pieces may have, in bytes; a request larger than that is let through alone.
    public var longBytes = 64 << 20
    /// How long the handshake may take as a whole, in nanoseconds; it also covers the wait for the first session of the DD/OS.
    public var handshake: UInt64 = 60_000_000_000
    /// How long a client may hold buffers without sending or taking a byte while others wait for buffers, in nanoseconds.
    public var stall: UInt64 = 10_000_000_000

    public init() {}

    /// Bytes of a connection's receive buffer: about sixteen 4 KiB writes with one call.
    static let receiveBuffer = 64 << 10
    /// After a long write, only so much is received before the next header is known, so that its data goes straight to its buffer.
    static let shortReceive = 256
    /// Bytes of replies that the kernel holds for a client: a few long reads, so that one is filled in while another is read.
    static let sendBuffer: Int32 = 512 << 10
    /// At most so many connections are looked at directly; more are left to the loop.
    static let lookedAt = 4
    /// A write of at least so many bytes is a long one.
    static let longWrite = 16 << 10
}
