/// The feature bits that change how a virtqueue works (virtio 1.2, section 6).
public struct VirtqueueFeatures: OptionSet, Sendable {
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// VIRTIO_F_INDIRECT_DESC: a descriptor may point to a table of descriptors.
    public static let indirectDescriptors = VirtqueueFeatures(rawValue: 1 << 28)
    /// VIRTIO_F_EVENT_IDX: each side says at which index it wants the next doorbell.
    public static let eventIndex = VirtqueueFeatures(rawValue: 1 << 29)
}

/// Where the three parts of a split virtqueue are (virtio 1.2, 2.7). A value of this type is well-formed.
///
///     part         written by   alignment   bytes              contents
///     descriptors  driver       16          16 × size          addr u64, len u32, flags u16, next u16
///     driver       driver       2           6 + 2 × size       flags u16, idx u16, ring[size] u16, used_event u16
///     device       device       4           6 + 8 × size       flags u16, idx u16, ring[size] {id u32, len u32}, avail_event u16
///     indirect     driver       16          16 × size × n      driver's own: n descriptors for every chain; not part of the standard
public struct VirtqueueLayout: Equatable, Sendable {
    /// Descriptors in the table, a power of two from 1 to 32768.
    public let size: UInt16
    /// Address of the descriptor table.
    public let descriptors: UInt64
    /// Address of the avail ring ("driver area").
    public let driver: UInt64
    /// Address of the used ring ("device area").
    public let device: UInt64
    /// Address of the driver's indirect tables, if it has any.
    public let indirect: UInt64
    /// Descriptors in each indirect table; 0: none.
    public let indirectEntries: UInt16

    /// The largest queue that the format allows.
    public static let largestSize: UInt32 = 32768

    /// Checks what a peer says of a queue against the memory that it is to be in.
    public init<Memory: VirtqueueMemory>(
        untrustedSize: UInt32, descriptors: UInt64, driver: UInt64, device: UInt64, in memory: Memory
    ) throws(VirtqueueError) {
        guard untrustedSize > 0, untrustedSize <= Self.largestSize, untrustedSize & (untrustedSize - 1) == 0 else {
            throw .sizeInvalid(untrustedSize)
        }
        self.init(
            size: UInt16(untrustedSize), descriptors: descriptors, driver: driver, device: device, indirect: 0, indirectEntries: 0)
        _ = try Rings(self, in: memory)
    }

    /// Places a queue at `start`, its parts one after the other and on cache lines of their own: what a driver does.
    ///
    /// `indirectEntries`: how many descriptors each chain's indirect table has; 0 for none.
    /// Traps unless `size` is a power of two up to 32768 and `start` a multiple of 64: the caller's own numbers.
    public init(size: UInt16, at start: UInt64, indirectEntries: UInt16 = 0) {
        precondition(size > 0 && UInt32(size) <= Self.largestSize && size & (size - 1) == 0 && start % 64 == 0)
        let driver = Self.nextLine(start + UInt64(size) * 16)
        let device = Self.nextLine(driver + 6 + UInt64(size) * 2)
        let indirect = Self.nextLine(device + 6 + UInt64(size) * 8)
        self.init(
            size: size, descriptors: start, driver: driver, device: device, indirect: indirect,
            indirectEntries: indirectEntries)
    }

    private init(size: UInt16, descriptors: UInt64, driver: UInt64, device: UInt64, indirect: UInt64, indirectEntries: UInt16) {
        self.size = size
        self.descriptors = descriptors
        self.driver = driver
        self.device = device
        self.indirect = indirect
        self.indirectEntries = indirectEntries
    }

    /// How many bytes `init(size:at:indirectEntries:)` takes, a multiple of 64.
    public static func byteCount(size: UInt16, indirectEntries: UInt16 = 0) -> UInt64 {
        let layout = VirtqueueLayout(size: size, at: 0, indirectEntries: indirectEntries)
        return nextLine(layout.indirect + UInt64(size) * UInt64(indirectEntries) * 16)
    }

    private static func nextLine(_ address: UInt64) -> UInt64 { (address + 63) & ~63 }
}
