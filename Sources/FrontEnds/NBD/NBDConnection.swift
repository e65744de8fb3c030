internal import CLinux
internal import ClientStub

/// One client: its place in the protocol, its receive buffer and its replies. What it may do is decided in ``NBDServer``.
///
/// Memory of its own is one block: the receive buffer, the receive's message, and the two banks of replies.
@safe struct NBDConnection {
    enum Phase {
        /// Not in use.
        case free
        case handshake
        case transmission
        /// No more requests are taken: what was asked for is finished, then the connection closes.
        case draining
        /// The socket is shut down; waits for its operations and requests.
        case closing
    }

    static let none = UInt32.max

    var phase = Phase.free
    var socket: Int32 = -1
    var handshake = NBDHandshake()
    var machine: NBDTransmission?
    var export = 0
    var structuredReplies = false

    // What was received and not yet understood: `start..<end` of the receive buffer.
    private var memory: UnsafeMutableRawPointer?
    private(set) var start = 0
    private(set) var end = 0
    /// A receive is under way in the loop.
    var receiving = false
    /// More bytes would help, and no receive is under way: the connection is among ``NBDServer/hungry``.
    var isHungry = false
    /// The receive under way has so many bytes of room in the write's own buffer, before the receive buffer.
    var directRoom = 0
    var lastWasLongWrite = false

    // Answers.
    var sending = false
    var banks: [ReplyBank] = []
    /// The bank that collects replies; the other one is sent.
    var filling = 0
    /// The handshake's answer under way.
    var handshakeOutput: UnsafeMutableRawBufferPointer?
    var handshakeSent = 0
    /// Close when the handshake's answer is out.
    var closesAfterOutput = false
    var isDirty = false

    // Requests.
    /// Every request that was read and whose reply is not sent.
    var requests = 0
    /// Pool bytes that they hold.
    var heldBytes = 0
    /// The write whose data is arriving.
    var writing = NBDConnection.none
    /// The request that needs a buffer before anything else is read.
    var waiting = NBDConnection.none
    /// Nanoseconds of the loop's clock, as ``lastProgress``.
    var openedAt: UInt64 = 0
    var lastProgress: UInt64 = 0

    /// Whether nothing of it is in the loop or the service.
    var isQuiet: Bool { !receiving && !sending && requests == 0 }

    private static func layout(_ replies: Int) -> (vectors: Int, banks: Int, bank: Int, total: Int) {
        let vectors = NBDLimits.receiveBuffer
        let banks = unsafe vectors + 2 * MemoryLayout<iovec>.stride + MemoryLayout<msghdr>.stride + 8
        let bank = (ReplyBank.memory(replies: replies) + 15) & ~15
        return (vectors, (banks + 15) & ~15, bank, ((banks + 15) & ~15) + 2 * bank)
    }

    mutating func open(_ socket: Int32, replies: Int, now: UInt64) {
        self = NBDConnection()
        phase = .handshake
        self.socket = socket
        openedAt = now
        lastProgress = now
        let layout = Self.layout(replies)
        let block = UnsafeMutableRawPointer.allocate(byteCount: layout.total, alignment: 16)
        unsafe memory = block
        // SAFETY: the parts lie within the block, see `layout`.
        banks = unsafe [
            ReplyBank(memory: block + layout.banks, replies: replies),
            ReplyBank(memory: block + layout.banks + layout.bank, replies: replies),
        ]
    }

    /// Frees the memory; only when ``isQuiet``.
    mutating func free() {
        banks = []
        // SAFETY: nothing in the loop or the service points here any more.
        unsafe memory?.deallocate()
        unsafe memory = nil
        unsafe handshakeOutput?.deallocate()
        unsafe handshakeOutput = nil
        machine = nil
        socket = -1
        phase = .free
    }

    // MARK: the receive buffer

    private var buffer: UnsafeMutableRawBufferPointer {
        // SAFETY: the block starts with the receive buffer; empty when there is no block.
        unsafe UnsafeMutableRawBufferPointer(start: memory, count: memory == nil ? 0 : NBDLimits.receiveBuffer)
    }

    /// Calls with what was received and not yet understood.
    @inline(__always)
    mutating func withStaged<Result>(_ body: (inout NBDConnection, Span<UInt8>) -> Result) -> Result {
        // SAFETY: the bytes up to `end` were written by receives; nothing is received meanwhile.
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: buffer[start..<end])
        let staged = unsafe bytes.assumingMemoryBound(to: UInt8.self)
        return unsafe body(&self, staged.span)
    }

    mutating func consume(_ count: Int) {
        start += count
        if start == end {
            start = 0
            end = 0
        }
    }

    /// Moves up to `count` bytes of what was received to the front of `target`; returns how many.
    mutating func copyStaged(to target: UnsafeMutableRawBufferPointer, count: Int) -> Int {
        let moved = min(count, end - start, target.count)
        // SAFETY: the slices are checked against both buffers.
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<moved])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<start + moved]))
        consume(moved)
        return moved
    }

    /// Where the next bytes go: at least one byte, because a machine that needs input has left less than one message.
    mutating func room() -> UnsafeMutableRawBufferPointer {
        if start > 0 {
            let staged = end - start
            // SAFETY: both ranges lie within the buffer; copyMemory allows overlap.
            unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            start = 0
            end = staged
        }
        let limit = lastWasLongWrite ? min(NBDLimits.receiveBuffer, end + NBDLimits.shortReceive) : NBDLimits.receiveBuffer
        return unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[end..<limit])
    }

    mutating func received(_ count: Int) { end = min(end + count, NBDLimits.receiveBuffer) }

    /// A message to receive into `target` first, if there is one, and then into the receive buffer. Only while the connection is open.
    mutating func receiveMessage(into target: UnsafeMutableRawBufferPointer?) -> UnsafeMutablePointer<msghdr> {
        let room = unsafe room()
        guard let memory = unsafe memory else { preconditionFailure("a closed connection receives nothing") }
        // SAFETY: the place for two vectors and a message follows the receive buffer, see `layout`.
        let vectors = unsafe (memory + NBDLimits.receiveBuffer).bindMemory(to: iovec.self, capacity: 2)
        unsafe vectors[0] = iovec(iov_base: target?.baseAddress, iov_len: target?.count ?? 0)
        unsafe vectors[1] = iovec(iov_base: room.baseAddress, iov_len: room.count)
        let message = unsafe UnsafeMutableRawPointer(vectors + 2).bindMemory(to: msghdr.self, capacity: 1)
        unsafe message.initialize(to: msghdr())
        unsafe message.pointee.msg_iov = target == nil ? vectors + 1 : vectors
        unsafe message.pointee.msg_iovlen = target == nil ? 1 : 2
        return unsafe message
    }
}
