/// One buffer of a chain: where it is in this process, and who may write it.
@safe
public struct Segment {
    /// The first byte. Shared with the peer: it may change at any time, even between two looks.
    public let base: UnsafeMutableRawPointer
    /// As the driver wrote it: a pool offset, or a guest-physical address.
    public let address: UInt64
    /// Bytes.
    public let count: UInt32
    /// For the device to write (true) or to read (false).
    public let isWritable: Bool

    @inlinable
    init(base: UnsafeMutableRawPointer, address: UInt64, count: UInt32, isWritable: Bool) {
        unsafe self.base = base
        self.address = address
        self.count = count
        self.isWritable = isWritable
    }

    /// The whole segment.
    @inlinable
    public var bytes: UnsafeMutableRawBufferPointer {
        // SAFETY: `DeviceVirtqueue.pop` has checked that all of it lies in the memory.
        unsafe UnsafeMutableRawBufferPointer(start: base, count: Int(count))
    }
}

/// What a device takes from its queue: the buffers of one request. Made once with a fixed capacity, filled again for every request.
///
/// First come the device-readable segments, then the device-writable ones.
@safe
public struct DescriptorChain: ~Copyable {
    @usableFromInline let segments: UnsafeMutablePointer<Segment>
    /// How many segments fit.
    public let capacity: Int
    @usableFromInline var filled = 0
    @usableFromInline var readable = 0
    @usableFromInline var first: UInt16 = 0
    @usableFromInline var readableTotal: UInt64 = 0
    @usableFromInline var writableTotal: UInt64 = 0

    /// Room for chains of up to `capacity` buffers; longer ones are an error of the driver's (`chainTooLong`).
    public init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        unsafe segments = .allocate(capacity: capacity)
    }

    deinit {
        // Segments are trivial: nothing to deinitialise.
        unsafe segments.deallocate()
    }

    /// The first descriptor's number: what `pushUsed` gives back.
    @inlinable public var head: UInt16 { first }
    /// How many segments there are.
    @inlinable public var count: Int { filled }
    /// How many of them, from the first, are device-readable; the rest are device-writable.
    @inlinable public var readableCount: Int { readable }
    /// Bytes in the device-readable segments.
    @inlinable public var readableBytes: UInt64 { readableTotal }
    /// Bytes in the device-writable segments; at most 2³².
    @inlinable public var writableBytes: UInt64 { writableTotal }

    /// Segment `index`, from 0 to `count` − 1. Traps otherwise: an index of the caller's own.
    @inlinable
    public subscript(index: Int) -> Segment {
        precondition(index >= 0 && index < filled)
        // SAFETY: the first `filled` segments are initialised.
        return unsafe segments[index]
    }

    @inlinable
    mutating func reset(head: UInt16) {
        first = head
        filled = 0
        readable = 0
        readableTotal = 0
        writableTotal = 0
    }

    @inlinable @inline(__always)
    mutating func append<Memory: VirtqueueMemory>(_ descriptor: Descriptor, in memory: Memory) throws(VirtqueueError) {
        let length = descriptor.length
        guard filled < capacity else { throw .chainTooLong(head: first) }
        guard let base = unsafe memory.translate(descriptor.address, length: UInt64(length)) else {
            throw .bufferOutsideMemory(address: descriptor.address, length: length)
        }
        if descriptor.isWritable {
            writableTotal &+= UInt64(length)
        } else {
            guard readable == filled else { throw .readableAfterWritable(head: first) }
            readable &+= 1
            readableTotal &+= UInt64(length)
        }
        // SAFETY: `filled` is below the capacity.
        unsafe (segments + filled).initialize(
            to: Segment(base: base, address: descriptor.address, count: length, isWritable: descriptor.isWritable))
        filled &+= 1
    }
}

// MARK: copying in and out

extension DescriptorChain {
    /// Copies readable bytes, from `offset` bytes into the readable part, to private memory: how many there were.
    ///
    /// For headers: check the copy, not the original.
    @inlinable
    public borrowing func copyReadable(from offset: UInt64 = 0, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        copy(0..<readable, skipping: offset, count: buffer.count) { segment, start, done, length in
            // SAFETY: `length` bytes fit on both sides.
            unsafe buffer.baseAddress.unsafelyUnwrapped.advanced(by: done)
                .copyMemory(from: segment.base + start, byteCount: length)
        }
    }

    /// Copies bytes to the writable part, from `offset` bytes into it: how many had room.
    @inlinable
    public borrowing func copyWritable(from buffer: UnsafeRawBufferPointer, at offset: UInt64 = 0) -> Int {
        copy(readable..<filled, skipping: offset, count: buffer.count) { segment, start, done, length in
            // SAFETY: `length` bytes fit on both sides.
            unsafe (segment.base + start)
                .copyMemory(from: buffer.baseAddress.unsafelyUnwrapped.advanced(by: done), byteCount: length)
        }
    }

    /// Writes the last byte of the writable part, where virtio-blk has its status. False if there is none.
    @inlinable
    public borrowing func storeLastWritableByte(_ value: UInt8) -> Bool {
        var index = filled
        while index > readable {
            index -= 1
            // SAFETY: below `filled`; the offset is within the segment.
            let segment = unsafe segments[index]
            if segment.count > 0 {
                unsafe segment.base.storeBytes(of: value, toByteOffset: Int(segment.count) - 1, as: UInt8.self)
                return true
            }
        }
        return false
    }

    /// Walks `count` bytes of some segments: (segment, where in it, how many bytes before, how many bytes here).
    @inlinable
    borrowing func copy(
        _ range: Range<Int>, skipping offset: UInt64, count: Int, _ body: (Segment, Int, Int, Int) -> Void
    ) -> Int {
        var skip = offset
        var done = 0
        for index in range where done < count {
            // SAFETY: ranges come from `readable` and `filled`.
            let segment = unsafe segments[index]
            if skip >= UInt64(segment.count) {
                skip -= UInt64(segment.count)
                continue
            }
            let length = min(Int(segment.count) - Int(skip), count - done)
            body(segment, Int(skip), done, length)
            done += length
            skip = 0
        }
        return done
    }
}
