/// Cuts a received byte stream into messages. Its memory is allocated once and never moves, so that a receive can be
/// in flight into `unfilled` while nothing else touches the inbox.
@safe
public struct MessageInbox: ~Copyable {
    private let storage: UnsafeMutableBufferPointer<UInt8>
    private let capacity: Int
    /// Start of the bytes not yet given out.
    private var head = 0
    /// End of the bytes received.
    private var tail = 0
    private var current = 0..<0

    /// - Parameter capacity: in bytes; at least one message of the maximum size.
    public init(capacity: Int = 4 * VirtioMessageLimits.maximumMessageSize) {
        precondition(capacity >= VirtioMessageLimits.maximumMessageSize)
        self.capacity = capacity
        // SAFETY: owned by this value alone and freed in deinit.
        unsafe storage = .allocate(capacity: capacity)
        unsafe storage.initialize(repeating: 0)
    }

    deinit {
        // SAFETY: allocated in init, freed only here.
        unsafe storage.deallocate()
    }

    /// Where the next received bytes go; never empty after `next()` returned nil.
    public var unfilled: UnsafeMutableRawBufferPointer {
        // SAFETY: tail <= capacity, so the slice stays inside.
        unsafe UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(storage)[tail...])
    }

    /// `count` bytes were received into `unfilled`.
    public mutating func filled(_ count: Int) {
        precondition(count >= 0 && count <= capacity - tail)
        tail += count
    }

    /// Puts bytes into the inbox that were received elsewhere.
    /// - Returns: how many of them there was room for.
    public mutating func fill(from bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, capacity - tail)
        guard count > 0 else { return 0 }
        // SAFETY: so many bytes fit behind `tail`, and nobody else's memory overlaps with the storage.
        unsafe bytes.extracting(0..<count).withUnsafeBytes { source in
            unsafe UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(storage)[tail...]).copyMemory(from: source)
        }
        tail += count
        return count
    }

    /// Forgets everything received: a new connection begins.
    public mutating func reset() {
        head = 0
        tail = 0
        current = 0..<0
    }

    /// The header of the next complete message, whose bytes are then in `message` until the next call; nil: more
    /// bytes have to be received first.
    /// - Throws: `headerSize` or `tooLarge` when the stream has lost its framing.
    public mutating func next() throws(MessageError) -> MessageHeader? {
        current = head..<head
        if tail - head >= MessageHeader.byteCount {
            let header = try MessageHeader(untrusted: bytes(head..<tail))
            if Int(header.size) <= tail - head {
                current = head..<head + Int(header.size)
                head += Int(header.size)
                return header
            }
        }
        compact()
        return nil
    }

    /// The bytes of the message that `next()` returned last, header included.
    public var message: Span<UInt8> {
        @_lifetime(borrow self)
        get { bytes(current) }
    }

    /// A copy of a part of that message, or of all of it: for texts and configuration, not for every message.
    public func copy(_ data: MessageData? = nil) -> [UInt8] {
        let span = bytes(current)
        let range = data.map { $0.offset..<$0.offset + $0.count } ?? 0..<span.count
        var copy: [UInt8] = []
        copy.reserveCapacity(range.count)
        for index in range { copy.append(span[index]) }
        return copy
    }

    @_lifetime(borrow self)
    private func bytes(_ range: Range<Int>) -> Span<UInt8> {
        // SAFETY: the range lies within storage, which lives as long as self.
        let slice = unsafe UnsafeBufferPointer(rebasing: UnsafeBufferPointer(storage)[range])
        return unsafe _overrideLifetime(Span(_unsafeElements: slice), borrowing: self)
    }

    private mutating func compact() {
        if head == tail {
            head = 0
            tail = 0
        } else if capacity - head < VirtioMessageLimits.maximumMessageSize {
            // SAFETY: both ranges lie within storage; memmove semantics.
            unsafe storage.baseAddress?.update(from: storage.baseAddress.unsafelyUnwrapped + head, count: tail - head)
            tail -= head
            head = 0
        }
        current = head..<head
    }
}
