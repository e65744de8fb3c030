/// Private memory for reads and writes that are longer than the disk takes at once: a client's data as a whole, while its pieces
/// travel through the service's buffers. A piece is copied once more than a short request's data is.
@safe struct LongBuffers {
    static let none: Int32 = -1

    private var blocks: [UnsafeMutableRawBufferPointer] = unsafe []
    private var free: [Int32] = []
    /// Of all that is in use.
    private(set) var bytes = 0

    init() {}

    /// Memory of `count` bytes, or nil while it would exceed `limit` together with what is in use. One alone may be larger.
    mutating func allocate(_ count: Int, limit: Int) -> Int32? {
        guard bytes == 0 || bytes + count <= limit else { return nil }
        bytes += count
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        if let index = free.popLast() {
            unsafe blocks[Int(index)] = block
            return index
        }
        unsafe blocks.append(block)
        return unsafe Int32(truncatingIfNeeded: blocks.count - 1)
    }

    /// As many bytes as were asked for.
    // SAFETY: an index that was given out and not released names memory of this table; who holds it says when it ends.
    subscript(index: Int32) -> UnsafeMutableRawBufferPointer { unsafe blocks[Int(index)] }

    mutating func release(_ index: Int32) {
        let block = unsafe blocks[Int(index)]
        bytes -= block.count
        // SAFETY: nobody uses a released index; its place keeps no pointer that could be used.
        unsafe block.deallocate()
        unsafe blocks[Int(index)] = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        free.append(index)
    }
}
