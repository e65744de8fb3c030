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
    /// First byte; aligned to at least 2 MiB.
    public let baseAddress: UnsafeMutableRawPointer
    /// Bytes mapped: the sum of the extents' lengths.
    public let count: Int
}
