internal import LinuxSystem
public import Virtqueue

/// A contiguous piece of guest-physical memory, in bytes.
public struct GuestExtent: Equatable, Hashable, Sendable {
    /// Guest-physical address of the first byte.
    public var address: UInt64
    /// Length in bytes.
    public var length: UInt64

    public init(address: UInt64, length: UInt64) {
        self.address = address
        self.length = length
    }
}

/// Extents of guest memory, mapped side by side. Dropping it unmaps it.
@safe public struct PoolMapping: ~Copyable {
    /// Huge pages are mapped only where this divides the address.
    static let alignment = 2 << 20

    /// The reserved range, longer than the pool by up to one alignment on each side: what is left over stays inaccessible.
    private var mapping: MemoryMapping
    private let skipped: Int
    /// Bytes mapped: the sum of the extents' lengths.
    public let count: Int

    init(reserving count: Int) throws(SystemError) {
        mapping = try MemoryMapping(reserving: count + Self.alignment)
        // SAFETY: only the address, as a number.
        let address = unsafe UInt(bitPattern: mapping.base)
        skipped = Int((UInt(Self.alignment) - address % UInt(Self.alignment)) % UInt(Self.alignment))
        self.count = count
    }

    mutating func place(descriptor: Int32, offset: UInt64, count part: Int, at position: Int) throws(SystemError) {
        try mapping.place(descriptor: descriptor, offset: offset, count: part, at: skipped + position)
    }

    /// First byte; aligned to 2 MiB. Not to be used after this value ends.
    public var baseAddress: UnsafeMutableRawPointer {
        // SAFETY: `skipped` is less than the alignment, by which the range is longer than the pool.
        unsafe mapping.base + skipped
    }

    /// The pool for virtqueues: addresses are offsets from its first byte. Not to be used after this value ends.
    public var memory: PoolMemory {
        // SAFETY: all of `count` bytes was placed, or there would be no value.
        unsafe PoolMemory(base: baseAddress, count: count)
    }
}
