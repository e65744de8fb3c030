internal import CLinux
internal import Virtqueue

/// A request under way: where its answer goes, and what is left of it.
@safe
struct BlockRequest {
    enum Work {
        case read
        case write
        case flush
        case discard
        /// fallocate with the first mode; with the second, if the first is not supported (0: there is none).
        case allocate(mode: Int32, otherwise: Int32)
    }

    var device = 0
    var queue = 0
    /// The chain's head.
    var head: UInt16 = 0
    var work = Work.flush
    /// Where the status byte is, in the pool.
    var status: UnsafeMutableRawPointer?
    /// What the used entry says when all is done: bytes written to the driver's buffers.
    var written: UInt32 = 1
    /// What is still to be done, in bytes of the disk.
    var offset: UInt64 = 0
    var remaining: UInt64 = 0
    /// The buffers still to be filled or written: a part of the slot's vectors.
    var firstVector = 0
    var vectorCount = 0
}

/// All requests under way, in slots whose number travels through io_uring, each with room for its buffers.
@safe
struct RequestTable: ~Copyable {
    private(set) var slots: FixedArray<BlockRequest>
    private var free: [Int]
    private let vectors: UnsafeMutablePointer<iovec>
    static let vectorsPerSlot = BlockFeatures.maximumSegments

    init(count: Int) {
        slots = FixedArray(count: count) { _ in BlockRequest() }
        free = Array((0..<count).reversed())
        // SAFETY: freed in deinit. Trivial values, written by `setVectors` before they are read: a megabyte that a guest with
        // little memory need not touch.
        unsafe vectors = .allocate(capacity: count * Self.vectorsPerSlot)
    }

    deinit {
        // SAFETY: no request is in flight when the server ends; iovec is trivial.
        unsafe vectors.deallocate()
    }

    var isFull: Bool { free.isEmpty }
    var inFlight: Int { slots.count - free.count }

    mutating func take(_ request: BlockRequest) -> Int? {
        guard let slot = free.popLast() else { return nil }
        slots[slot] = request
        return slot
    }

    mutating func release(_ slot: Int) {
        free.append(slot)
    }

    subscript(slot: Int) -> BlockRequest {
        get { slots[slot] }
        set { slots[slot] = newValue }
    }

    /// The buffers of a slot that are still to be done.
    func pendingVectors(_ slot: Int) -> UnsafeMutableBufferPointer<iovec> {
        let request = slots[slot]
        precondition(request.firstVector + request.vectorCount <= Self.vectorsPerSlot)
        // SAFETY: within the slot's part of `vectors`, as just checked; slots[slot] has checked the slot.
        return unsafe UnsafeMutableBufferPointer(
            start: vectors + slot * Self.vectorsPerSlot + request.firstVector, count: request.vectorCount)
    }

    /// Notes the data buffers of a chain: the readable ones after the header, or the writable ones before the status.
    ///
    /// - Returns: false if there are more than a slot holds.
    mutating func setVectors(_ slot: Int, _ chain: borrowing DescriptorChain, readable: Bool, skip: Int, length: UInt64) -> Bool {
        slots[slot].firstVector = 0
        slots[slot].vectorCount = 0
        var skip = skip
        var left = length
        for index in readable ? 0..<chain.readableCount : chain.readableCount..<chain.count where left > 0 {
            let segment = chain[index]
            let from = min(skip, Int(segment.count))
            skip -= from
            let count = min(UInt64(Int(segment.count) - from), left)
            guard count > 0 else { continue }
            let place = slots[slot].vectorCount
            guard place < Self.vectorsPerSlot else { return false }
            // SAFETY: the place is within the slot; the buffer was checked against the pool by `pop`.
            unsafe (vectors + slot * Self.vectorsPerSlot + place).initialize(to: iovec(iov_base: segment.base + from, iov_len: Int(count)))
            slots[slot].vectorCount += 1
            left -= count
        }
        return left == 0
    }

    /// Takes `count` bytes off the front of what is to be done.
    mutating func advance(_ slot: Int, by count: UInt64) {
        slots[slot].offset += count
        slots[slot].remaining -= count
        var count = Int(count)
        while count > 0, slots[slot].vectorCount > 0 {
            let first = unsafe pendingVectors(slot)
            // SAFETY: at least one vector is left; the new base stays within the old buffer.
            let length = unsafe first[0].iov_len
            if count < length {
                unsafe first[0].iov_base = first[0].iov_base + count
                unsafe first[0].iov_len = length - count
                return
            }
            count -= length
            slots[slot].firstVector += 1
            slots[slot].vectorCount -= 1
        }
    }
}
