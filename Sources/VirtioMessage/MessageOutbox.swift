/// Messages waiting to be sent. Its memory is allocated once and never moves; a send may be in flight from `pending`
/// while messages are appended, but only one at a time, and `sent(_:)` ends it.
@safe
public struct MessageOutbox: ~Copyable {
    private let storage: UnsafeMutableBufferPointer<UInt8>
    private let capacity: Int
    private var head = 0
    private var tail = 0
    private var lastToken: UInt16 = 0

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

    /// The bytes to send, oldest first.
    public var pending: UnsafeRawBufferPointer {
        // SAFETY: head <= tail <= capacity.
        unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(storage)[head..<tail])
    }

    public var isEmpty: Bool { head == tail }

    /// How many bytes can be appended now.
    public var freeBytes: Int { capacity - tail }

    /// `count` bytes of `pending` were sent, and no send is in flight now.
    public mutating func sent(_ count: Int) {
        precondition(count >= 0 && count <= tail - head)
        head += count
        if head == tail {
            head = 0
            tail = 0
        } else if head > 0, tail > capacity / 2 {
            // SAFETY: both ranges lie within storage; memmove semantics.
            unsafe storage.baseAddress?.update(from: storage.baseAddress.unsafelyUnwrapped + head, count: tail - head)
            tail -= head
            head = 0
        }
    }

    /// Forgets everything: a new connection begins. No send may be in flight.
    public mutating func reset() {
        head = 0
        tail = 0
    }

    /// A token for the next request: never zero, and repeated only after 65,535 others ("Message Correlation").
    public mutating func nextToken() -> UInt16 {
        lastToken = lastToken == .max ? 1 : lastToken + 1
        return lastToken
    }

    /// Starts a message: header written, payload still to be put.
    mutating func begin(
        isResponse: Bool = false, isBus: Bool = false, _ id: UInt8, device: UInt16 = 0, token: UInt16 = 0, payload: Int
    ) throws(MessageError) {
        let size = MessageHeader.byteCount + payload
        guard payload >= 0, size <= VirtioMessageLimits.maximumMessageSize, size <= capacity - tail else { throw .noSpace }
        put8((isResponse ? 1 : 0) | (isBus ? 2 : 0))
        put8(id)
        put16(device)
        put16(token)
        put16(UInt16(size))
    }

    mutating func put8(_ value: UInt8) {
        precondition(tail < capacity)
        // SAFETY: checked just above.
        unsafe storage[tail] = value
        tail += 1
    }

    mutating func put16(_ value: UInt16) {
        put8(UInt8(truncatingIfNeeded: value))
        put8(UInt8(truncatingIfNeeded: value >> 8))
    }

    mutating func put32(_ value: UInt32) {
        put16(UInt16(truncatingIfNeeded: value))
        put16(UInt16(truncatingIfNeeded: value >> 16))
    }

    mutating func put64(_ value: UInt64) {
        put32(UInt32(truncatingIfNeeded: value))
        put32(UInt32(truncatingIfNeeded: value >> 32))
    }

    mutating func put(_ bytes: Span<UInt8>) {
        precondition(bytes.count <= capacity - tail)
        guard bytes.count > 0 else { return }
        // SAFETY: so many bytes fit behind `tail`, as just checked, and the two do not overlap: the storage is this value's own.
        unsafe bytes.withUnsafeBytes { source in
            unsafe UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(storage)[tail...]).copyMemory(from: source)
        }
        tail += bytes.count
    }
}
