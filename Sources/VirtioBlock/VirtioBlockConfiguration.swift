/// A virtio-blk device's configuration space (virtio 1.2, 5.2.4), as read or to be offered. Little-endian, packed.
///
///     offset  field                        holds with
///     0       capacity u64                 always; units of 512 bytes
///     8       size_max u32                 SIZE_MAX
///     12      seg_max u32                  SEG_MAX
///     16      geometry, 4 bytes            (not used)
///     20      blk_size u32                 BLK_SIZE
///     24      physical_block_exp u8        TOPOLOGY; log2 of logical blocks per physical block
///     25      alignment_offset u8          TOPOLOGY
///     26      min_io_size u16              TOPOLOGY; logical blocks
///     28      opt_io_size u32              TOPOLOGY; logical blocks
///     32      writeback u8, unused u8      (not used)
///     34      num_queues u16               MQ
///     36      max_discard_sectors u32      DISCARD; units of 512 bytes
///     40      max_discard_seg u32          DISCARD
///     44      discard_sector_alignment u32 DISCARD; units of 512 bytes
///     48      max_write_zeroes_sectors u32 WRITE_ZEROES; units of 512 bytes
///     52      max_write_zeroes_seg u32     WRITE_ZEROES
///     56      write_zeroes_may_unmap u8    WRITE_ZEROES
///     57      unused, 3 bytes
public struct VirtioBlockConfiguration: Equatable, Sendable {
    /// Bytes of the whole space.
    public static let byteCount = 60

    public var capacity: UInt64 = 0
    public var maximumSegmentSize: UInt32 = 0
    public var maximumSegments: UInt32 = 0
    public var blockSize: UInt32 = 512
    public var physicalBlockExponent: UInt8 = 0
    public var alignmentOffset: UInt8 = 0
    public var minimumIOBlocks: UInt16 = 0
    public var optimalIOBlocks: UInt32 = 0
    public var queueCount: UInt16 = 1
    public var maximumDiscardSectors: UInt32 = 0
    public var maximumDiscardSegments: UInt32 = 0
    public var discardSectorAlignment: UInt32 = 0
    public var maximumWriteZeroesSectors: UInt32 = 0
    public var maximumWriteZeroesSegments: UInt32 = 0
    public var writeZeroesMayUnmap: Bool = false

    public init() {}

    /// The 60 bytes.
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        func append(_ value: some FixedWidthInteger) {
            var rest = UInt64(truncatingIfNeeded: value)
            for _ in 0..<(value.bitWidth / 8) {
                bytes.append(UInt8(truncatingIfNeeded: rest))
                rest >>= 8
            }
        }
        append(capacity)
        append(maximumSegmentSize)
        append(maximumSegments)
        append(UInt32(0))
        append(blockSize)
        append(physicalBlockExponent)
        append(alignmentOffset)
        append(minimumIOBlocks)
        append(optimalIOBlocks)
        append(UInt16(0))
        append(queueCount)
        append(maximumDiscardSectors)
        append(maximumDiscardSegments)
        append(discardSectorAlignment)
        append(maximumWriteZeroesSectors)
        append(maximumWriteZeroesSegments)
        append(UInt32(writeZeroesMayUnmap ? 1 : 0))
        return bytes
    }

    /// Reads as much as there is: a shorter space (of a device that knows fewer fields) leaves the rest 0. Any bytes are a value;
    /// whether they make sense is `VirtioBlockDisk`'s business.
    public init(untrusted bytes: [UInt8]) {
        func field(_ offset: Int, _ count: Int) -> UInt64 {
            guard bytes.count >= offset + count else { return 0 }
            var value: UInt64 = 0
            for index in (offset..<offset + count).reversed() { value = value << 8 | UInt64(bytes[index]) }
            return value
        }
        capacity = field(0, 8)
        maximumSegmentSize = UInt32(truncatingIfNeeded: field(8, 4))
        maximumSegments = UInt32(truncatingIfNeeded: field(12, 4))
        blockSize = UInt32(truncatingIfNeeded: field(20, 4))
        physicalBlockExponent = UInt8(truncatingIfNeeded: field(24, 1))
        alignmentOffset = UInt8(truncatingIfNeeded: field(25, 1))
        minimumIOBlocks = UInt16(truncatingIfNeeded: field(26, 2))
        optimalIOBlocks = UInt32(truncatingIfNeeded: field(28, 4))
        queueCount = UInt16(truncatingIfNeeded: field(34, 2))
        maximumDiscardSectors = UInt32(truncatingIfNeeded: field(36, 4))
        maximumDiscardSegments = UInt32(truncatingIfNeeded: field(40, 4))
        discardSectorAlignment = UInt32(truncatingIfNeeded: field(44, 4))
        maximumWriteZeroesSectors = UInt32(truncatingIfNeeded: field(48, 4))
        maximumWriteZeroesSegments = UInt32(truncatingIfNeeded: field(52, 4))
        writeZeroesMayUnmap = field(56, 1) != 0
    }
}
