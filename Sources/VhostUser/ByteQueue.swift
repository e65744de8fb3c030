/// Bytes that wait, contiguous, first in first out, within a fixed capacity. Private memory: no peer can touch it.
@safe struct ByteQueue: ~Copyable {
    private let storage: UnsafeMutableRawPointer
    /// The storage is longer than what it may hold, so that the front is moved rarely.
    private let room: Int
    let capacity: Int
    private var start = 0
    private(set) var count = 0

    init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        room = capacity * 2
        unsafe storage = .allocate(byteCount: room, alignment: 64)
    }

    deinit { unsafe storage.deallocate() }

    var free: Int { capacity - count }

    /// The bytes, oldest first; valid until the next change.
    var bytes: UnsafeRawBufferPointer {
        // SAFETY: start + count is never more than the storage has.
        unsafe UnsafeRawBufferPointer(start: storage + start, count: count)
    }

    mutating func removeAll() {
        start = 0
        count = 0
    }

    mutating func removeFirst(_ amount: Int) {
        precondition(amount >= 0 && amount <= count)
        start += amount
        count -= amount
        if count == 0 { start = 0 }
    }

    /// Room for `amount` more bytes, at most ``free``; they are there after ``commit(_:)``.
    mutating func reserve(_ amount: Int) -> UnsafeMutableRawBufferPointer {
        precondition(amount >= 0 && amount <= free)
        if start + count + amount > room {
            // SAFETY: memmove within the storage.
            unsafe storage.copyMemory(from: storage + start, byteCount: count)
            start = 0
        }
        // SAFETY: just made sure of.
        return unsafe UnsafeMutableRawBufferPointer(start: storage + start + count, count: amount)
    }

    mutating func commit(_ amount: Int) {
        precondition(amount >= 0 && amount <= free)
        count += amount
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let place = unsafe reserve(bytes.count)
        unsafe place.copyMemory(from: bytes)
        commit(bytes.count)
    }
}
