/// What a front end may ask of a disk.
public enum BlockOperation: UInt8, Sendable {
    case read, write, flush, discard, writeZeroes
}

/// How a request ended.
public enum BlockStatus: UInt8, Sendable, Equatable {
    case ok
    /// The device, or the policy for a disk whose DD/OS is down, failed the request.
    case ioError
    /// The device does not do this operation.
    case unsupported
    /// The request was malformed (range past the end, unaligned, no such export); it never reached the DD/OS.
    case invalid
    /// A write, discard or zero request for a read-only disk; it never reached the DD/OS.
    case readOnly
    /// The stub is shutting down.
    case shuttingDown
}

/// A disk as front ends offer it.
///
/// The list of exports is unknown until a DD/OS had its first session, and never changes afterwards: a later life that
/// offers other disks is a protocol violation. An export's index in ``BlockService/exports`` is its identity.
public struct BlockExport: Sendable, Equatable {
    /// For instance `nvme0n1`; unique in its stub, at most 32 bytes of printable ASCII.
    public var name: String
    /// Bytes; a multiple of ``blockSize``.
    public var size: UInt64
    /// Logical block size in bytes, a power of two, 512…4096: offsets and lengths are multiples of it.
    public var blockSize: UInt32
    /// Bytes; a power of two, at least ``blockSize``: requests that are multiples of it perform best.
    public var preferredBlockSize: UInt32
    public var readOnly: Bool
    public var rotational: Bool
    /// Largest read or write that ``BlockService/submit(export:operation:offset:length:fua:buffer:tag:)`` takes, in
    /// bytes. Front ends split what is longer: pieces of one request are independent requests here, so that the first
    /// is under way while the next is still being received.
    public var maxRequestBytes: UInt32
    /// Largest discard, in bytes; 0 when ``canDiscard`` is false. This and the next may be others in a later life.
    public var maxDiscardBytes: UInt32
    /// Largest write-zeroes, in bytes; 0 when ``canWriteZeroes`` is false.
    public var maxWriteZeroesBytes: UInt32
    /// False for a disk without a volatile write cache: a flush then succeeds at once.
    public var canFlush: Bool
    public var canDiscard: Bool
    public var canWriteZeroes: Bool

    public init(
        name: String, size: UInt64, blockSize: UInt32, preferredBlockSize: UInt32, readOnly: Bool, rotational: Bool,
        maxRequestBytes: UInt32, maxDiscardBytes: UInt32, maxWriteZeroesBytes: UInt32, canFlush: Bool, canDiscard: Bool,
        canWriteZeroes: Bool
    ) {
        self.name = name
        self.size = size
        self.blockSize = blockSize
        self.preferredBlockSize = preferredBlockSize
        self.readOnly = readOnly
        self.rotational = rotational
        self.maxRequestBytes = maxRequestBytes
        self.maxDiscardBytes = maxDiscardBytes
        self.maxWriteZeroesBytes = maxWriteZeroesBytes
        self.canFlush = canFlush
        self.canDiscard = canDiscard
        self.canWriteZeroes = canWriteZeroes
    }
}

/// A data buffer of a ``BlockService``: a name, not an address, because the data moves to another pool when the DD/OS is
/// replaced while a request is in flight.
public struct BufferHandle: Sendable, Equatable {
    /// Index in the service's own table.
    public var index: UInt32

    public init(index: UInt32) { self.index = index }
}

/// The end of a request.
public struct BlockCompletion: Sendable, Equatable {
    /// The front end's own word for the request.
    public var tag: UInt64
    public var status: BlockStatus

    public init(tag: UInt64, status: BlockStatus) {
        self.tag = tag
        self.status = status
    }
}

/// What a front end sees of the disks of one DD/OS.
///
/// Everything happens on the stub's one thread, between two waits of its ``EventLoop``. No call blocks and none fails: a
/// request that cannot be served ends with a ``BlockStatus``. While the DD/OS is down, or was never up, the calls work
/// the same (buffers then come from private memory, up to a limit) and requests are held; what was in flight when it
/// died is sent again to its successor. All that a front end may notice is time.
///
/// The life of a request with data:
/// 1. ``allocate(bytes:)``; `nil` means that nothing is free: stop reading from the client, and go on when
///    ``FrontEnd/buffersAvailable(loop:service:)`` is called.
/// 2. For a write, receive the client's data into ``pointer(of:)``: that is the one copy on the way. The pointer stays
///    valid until the buffer is submitted or released.
/// 3. ``submit(export:operation:offset:length:fua:buffer:tag:)``. From here to the completion the buffer's memory is the
///    service's: it may move.
/// 4. The completion arrives in ``FrontEnd/requestCompleted(_:loop:service:)``. After a read, send from
///    ``pointer(of:)``, asked for again.
/// 5. ``release(_:)`` after the last system call that uses the memory has completed: also when the client is gone in
///    the middle of a receive or send, after the cancelled operation's completion has come.
public protocol BlockService: ~Copyable {
    /// Empty until ``exportsKnown``.
    var exports: [BlockExport] { get }

    /// Whether a first session was up. Before that a front end lets its clients wait, with a deadline.
    var exportsKnown: Bool { get }

    /// How long a client may wait until ``exportsKnown``, in nanoseconds from its connection on: as long as a request of its would be held.
    /// 0 where requests fail at once, `.max` for no limit but the front end's own.
    var handshakePatience: UInt64 { get }

    /// A contiguous buffer of at least `bytes` bytes (1…`maxRequestBytes`, at most ``bufferLimit``), or `nil`
    /// when none is free now.
    mutating func allocate(bytes: Int) -> BufferHandle?

    /// Where the buffer is now: exactly as many bytes as were asked for.
    func pointer(of buffer: BufferHandle) -> UnsafeMutableRawBufferPointer

    /// The largest buffer that ``allocate(bytes:)`` can give, in bytes.
    var bufferLimit: Int { get }

    /// Starts a request. `offset` and `length` are bytes; `buffer` holds at least `length` bytes and is needed for reads
    /// and writes only. The caller keeps the buffer and releases it after the completion.
    ///
    /// `fua` makes a write complete only when the data is on stable storage (write, then flush). Whoever splits a request
    /// leaves it out of the pieces and sends one flush after them.
    ///
    /// The doorbell is rung once for all requests submitted between two waits of the loop.
    mutating func submit(
        export: Int, operation: BlockOperation, offset: UInt64, length: UInt32, fua: Bool, buffer: BufferHandle?, tag: UInt64)

    /// Gives a buffer back.
    mutating func release(_ buffer: BufferHandle)
}
