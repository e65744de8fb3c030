public import Synchronization

/// One descriptor, loaded (virtio 1.2, 2.7.5). A private copy: the peer cannot change it any more.
@usableFromInline
struct Descriptor {
    @usableFromInline let address: UInt64
    /// length u32, flags u16, next u16: one load, so that the three fit together.
    @usableFromInline let rest: UInt64

    @inlinable
    init(address: UInt64, rest: UInt64) {
        self.address = address
        self.rest = rest
    }

    @inlinable
    init(address: UInt64, length: UInt32, flags: UInt16, next: UInt16) {
        self.init(address: address, rest: UInt64(length) | UInt64(flags) << 32 | UInt64(next) << 48)
    }

    @inlinable var length: UInt32 { UInt32(truncatingIfNeeded: rest) }
    @inlinable var hasNext: Bool { rest & 1 << 32 != 0 }  // VIRTQ_DESC_F_NEXT
    @inlinable var isWritable: Bool { rest & 2 << 32 != 0 }  // VIRTQ_DESC_F_WRITE
    @inlinable var isIndirect: Bool { rest & 4 << 32 != 0 }  // VIRTQ_DESC_F_INDIRECT
    @inlinable var next: UInt16 { UInt16(truncatingIfNeeded: rest >> 48) }
}

/// Pointers to the three parts of a queue, checked once, and the loads and stores that both sides make there.
///
/// Every load is atomic and happens exactly once where it is written: what the peer changes later is not seen.
/// The memory must stay mapped as long as this value is in use.
@usableFromInline
@safe
struct Rings {
    @usableFromInline let descriptors: UnsafeMutableRawPointer
    @usableFromInline let driver: UnsafeMutableRawPointer
    @usableFromInline let device: UnsafeMutableRawPointer
    @usableFromInline let size: UInt16
    @usableFromInline let mask: UInt16

    @usableFromInline
    init<Memory: VirtqueueMemory>(_ layout: VirtqueueLayout, in memory: Memory) throws(VirtqueueError) {
        let size = UInt64(layout.size)
        unsafe descriptors = try Rings.part(layout.descriptors, size * 16, 16, memory)
        unsafe driver = try Rings.part(layout.driver, 6 + size * 2, 2, memory)
        unsafe device = try Rings.part(layout.device, 6 + size * 8, 4, memory)
        self.size = layout.size
        mask = layout.size - 1
    }

    static func part<Memory: VirtqueueMemory>(
        _ address: UInt64, _ length: UInt64, _ alignment: UInt64, _ memory: Memory
    ) throws(VirtqueueError) -> UnsafeMutableRawPointer {
        guard let place = unsafe memory.translate(address, length: length) else { throw .partOutsideMemory(address: address) }
        // Both: the address because the specification says so, the pointer because atomic loads need it.
        guard address % alignment == 0, UInt64(UInt(bitPattern: place)) % alignment == 0 else {
            throw .partMisaligned(address: address)
        }
        return unsafe place
    }

    // MARK: loads and stores

    // SAFETY: for all of these, `init` has checked that the parts lie in memory and are aligned, and every offset below is
    // within its part, because indexes are masked with `mask`. Atomics over bytes that another process writes are what the
    // memory model offers for this: no tearing, no reloading. Fields are little-endian.

    @inlinable @inline(__always)
    static func atomic16(_ place: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt16>> {
        unsafe place.assumingMemoryBound(to: Atomic<UInt16>.self)
    }

    @inlinable @inline(__always)
    static func load16(_ place: UnsafeMutableRawPointer) -> UInt16 {
        unsafe UInt16(littleEndian: atomic16(place).pointee.load(ordering: .relaxed))
    }

    @inlinable @inline(__always)
    static func acquire16(_ place: UnsafeMutableRawPointer) -> UInt16 {
        unsafe UInt16(littleEndian: atomic16(place).pointee.load(ordering: .acquiring))
    }

    @inlinable @inline(__always)
    static func store16(_ value: UInt16, _ place: UnsafeMutableRawPointer) {
        unsafe atomic16(place).pointee.store(value.littleEndian, ordering: .relaxed)
    }

    @inlinable @inline(__always)
    static func release16(_ value: UInt16, _ place: UnsafeMutableRawPointer) {
        unsafe atomic16(place).pointee.store(value.littleEndian, ordering: .releasing)
    }

    @inlinable @inline(__always)
    static func load32(_ place: UnsafeMutableRawPointer) -> UInt32 {
        unsafe UInt32(littleEndian: place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .relaxed))
    }

    @inlinable @inline(__always)
    static func store32(_ value: UInt32, _ place: UnsafeMutableRawPointer) {
        unsafe place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(value.littleEndian, ordering: .relaxed)
    }

    @inlinable @inline(__always)
    static func load64(_ place: UnsafeMutableRawPointer) -> UInt64 {
        unsafe UInt64(littleEndian: place.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .relaxed))
    }

    @inlinable @inline(__always)
    static func store64(_ value: UInt64, _ place: UnsafeMutableRawPointer) {
        unsafe place.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(value.littleEndian, ordering: .relaxed)
    }

    /// Loads descriptor `index` of a table that is aligned to 8 and has more than `index` of them.
    @inlinable @inline(__always)
    static func descriptor(_ index: UInt16, of table: UnsafeMutableRawPointer) -> Descriptor {
        let place = unsafe table + Int(index) &* 16
        return unsafe Descriptor(address: load64(place), rest: load64(place + 8))
    }

    @inlinable @inline(__always)
    static func store(_ descriptor: Descriptor, _ index: UInt16, of table: UnsafeMutableRawPointer) {
        let place = unsafe table + Int(index) &* 16
        unsafe store64(descriptor.address, place)
        unsafe store64(descriptor.rest, place + 8)
    }

    // MARK: fields

    @inlinable @inline(__always) var availFlags: UnsafeMutableRawPointer { unsafe driver }
    @inlinable @inline(__always) var availIndex: UnsafeMutableRawPointer { unsafe driver + 2 }
    @inlinable @inline(__always)
    func availEntry(_ index: UInt16) -> UnsafeMutableRawPointer { unsafe driver + (4 &+ Int(index & mask) &* 2) }
    /// Where the driver says at which used index it wants a doorbell.
    @inlinable @inline(__always) var usedEvent: UnsafeMutableRawPointer { unsafe driver + (4 &+ Int(size) &* 2) }

    @inlinable @inline(__always) var usedFlags: UnsafeMutableRawPointer { unsafe device }
    @inlinable @inline(__always) var usedIndex: UnsafeMutableRawPointer { unsafe device + 2 }
    @inlinable @inline(__always)
    func usedEntry(_ index: UInt16) -> UnsafeMutableRawPointer { unsafe device + (4 &+ Int(index & mask) &* 8) }
    /// Where the device says at which avail index it wants a doorbell.
    @inlinable @inline(__always) var availEvent: UnsafeMutableRawPointer { unsafe device + (4 &+ Int(size) &* 8) }

    /// Whether an index that moved from `old` to `new` has passed `event`: vring_need_event of 2.7.10.
    @inlinable @inline(__always)
    static func passed(_ event: UInt16, from old: UInt16, to new: UInt16) -> Bool {
        new &- event &- 1 < new &- old
    }
}
