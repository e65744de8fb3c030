/// Memory that descriptors point into: turns an address into a pointer, or says no.
///
/// The only way from a number that a peer wrote to a pointer. Always used as a generic parameter, so that it costs a
/// comparison and not a call.
public protocol VirtqueueMemory {
    /// Where the `length` bytes from `address` on are in this process; nil unless all of them lie in the memory, contiguously.
    ///
    /// The pointer stays good as long as the memory is mapped, which is the owner's business.
    func translate(_ address: UInt64, length: UInt64) -> UnsafeMutableRawPointer?
}

/// One contiguous piece of memory with addresses from 0: the pool, where addresses are offsets.
///
/// A plain value that borrows: whoever has mapped the pool keeps it mapped as long as copies of this are in use.
@safe
public struct PoolMemory: VirtqueueMemory, @unchecked Sendable {
    /// The pool's first byte; page-aligned.
    public let base: UnsafeMutableRawPointer
    /// The pool's length in bytes.
    public let count: UInt64

    /// The `count` bytes from `base`, which must be mapped, readable and writable, as long as this value is in use.
    @unsafe @inlinable
    public init(base: UnsafeMutableRawPointer, count: Int) {
        unsafe self.base = base
        self.count = UInt64(count)
    }

    @inlinable @inline(__always)
    public func translate(_ address: UInt64, length: UInt64) -> UnsafeMutableRawPointer? {
        guard address <= count, length <= count &- address else { return nil }
        // SAFETY: within the pool, as just checked; the offset fits an Int because `count` came from one.
        return unsafe base + Int(truncatingIfNeeded: address)
    }

    /// The bytes of a range; nil unless it lies in the pool.
    @inlinable
    public func bytes(at address: UInt64, count length: Int) -> UnsafeMutableRawBufferPointer? {
        guard length >= 0, let start = unsafe translate(address, length: UInt64(length)) else { return nil }
        return unsafe UnsafeMutableRawBufferPointer(start: start, count: length)
    }

    /// The pool offset of a pointer into it; nil if it points elsewhere.
    @inlinable
    public func address(of pointer: UnsafeRawPointer) -> UInt64? {
        // SAFETY: only compared, as numbers.
        let distance = unsafe UInt64(UInt(bitPattern: pointer) &- UInt(bitPattern: base))
        return distance < count ? distance : nil
    }

    /// Reads a value at any alignment; nil unless it lies in the pool. The peer may change it at any time: read once, then check.
    @inlinable
    public func load<Value: BitwiseCopyable>(at address: UInt64, as type: Value.Type) -> Value? {
        guard let place = unsafe translate(address, length: UInt64(MemoryLayout<Value>.size)) else { return nil }
        // SAFETY: in the pool, and any bits are a value of a trivial type that callers use here (integers and structs of them).
        return unsafe place.loadUnaligned(as: Value.self)
    }

    /// Writes a value at any alignment; false unless it lies in the pool.
    @inlinable
    public func store<Value: BitwiseCopyable>(_ value: Value, at address: UInt64) -> Bool {
        guard let place = unsafe translate(address, length: UInt64(MemoryLayout<Value>.size)) else { return false }
        unsafe place.storeBytes(of: value, as: Value.self)
        return true
    }
}

/// A guest's memory: several regions, addresses are guest-physical (vhost-user's memory table).
///
/// Borrows like `PoolMemory`: the owner keeps the regions mapped as long as copies of this are in use.
@safe
public struct GuestMemory: VirtqueueMemory, @unchecked Sendable {
    /// Memory of the guest that is mapped in one piece.
    @safe
    public struct Region {
        /// Guest-physical address of the first byte.
        public let address: UInt64
        /// Length in bytes.
        public let count: UInt64
        /// Where the first byte is in this process.
        public let base: UnsafeMutableRawPointer

        /// nil if the region is empty or runs past the end of the address space. `base` must be mapped for `count` bytes.
        @unsafe
        public init?(address: UInt64, base: UnsafeMutableRawPointer, count: Int) {
            guard count > 0, UInt64(count) - 1 <= UInt64.max - address else { return nil }
            self.address = address
            self.count = UInt64(count)
            unsafe self.base = base
        }
    }

    /// In the order in which they are searched: the largest first, which is where nearly every buffer is.
    @usableFromInline let regions: [Region]

    /// The regions must not overlap in guest-physical memory (if they do, the larger wins).
    public init(regions: [Region]) {
        var sorted = regions
        sorted.sort { $0.count > $1.count }
        self.regions = sorted
    }

    @inlinable
    public func translate(_ address: UInt64, length: UInt64) -> UnsafeMutableRawPointer? {
        for region in regions {
            let offset = address &- region.address
            if address >= region.address, offset < region.count {
                guard length <= region.count &- offset else { return nil }
                // SAFETY: within the region, as just checked.
                return unsafe region.base + Int(truncatingIfNeeded: offset)
            }
        }
        return nil
    }
}
