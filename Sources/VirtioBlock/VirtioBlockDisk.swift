/// What is wrong with a disk that a device describes.
public enum VirtioBlockError: Error, Equatable, Sendable {
    /// The block size is not a power of two from 512 to 65536 bytes.
    case blockSizeInvalid(UInt32)
    /// The capacity (units of 512 bytes) is more than 2⁶³ bytes, or no whole number of blocks.
    case capacityInvalid(UInt64)
    /// SIZE_MAX or SEG_MAX leave no room for a single block.
    case segmentsInvalid(size: UInt32, count: UInt32)

    /// The error in words, with its numbers.
    public var description: String {
        switch self {
        case .blockSizeInvalid(let size): "block size \(size) is not a power of two from 512 to 65536"
        case .capacityInvalid(let sectors): "capacity of \(sectors) sectors is not possible"
        case .segmentsInvalid(let size, let count): "requests of \(count) segments of \(size) bytes hold no block"
        }
    }
}

extension VirtioBlockError: CustomStringConvertible {}

/// A disk as a driver may use it: the device's configuration, checked against its features. All sizes in bytes.
public struct VirtioBlockDisk: Equatable, Sendable {
    /// A whole number of blocks.
    public let size: UInt64
    /// A power of two from 512 to 65536; every offset and length is a multiple of it.
    public let blockSize: UInt32
    /// At least `blockSize`, at most 65536 times as much: a good unit for writes.
    public let physicalBlockSize: UInt32
    /// 0: unknown.
    public let optimalIOSize: UInt32
    public let isReadOnly: Bool
    public let canFlush: Bool
    /// The longest `discard` of one range; 0: not supported.
    public let maximumDiscard: UInt64
    /// Where discards should begin and end; at least `blockSize`.
    public let discardAlignment: UInt64
    /// The longest `writeZeroes` of one range; 0: not supported.
    public let maximumWriteZeroes: UInt64
    public let writeZeroesMayUnmap: Bool
    /// The longest buffer of a read or write; a multiple of `blockSize`.
    public let maximumSegmentSize: UInt32
    /// The most buffers of a read or write, header and status not counted.
    public let maximumSegments: UInt32
    /// At least 1.
    public let queueCount: UInt16

    /// Checks a device's words: `features` are those negotiated.
    public init(
        untrusted configuration: VirtioBlockConfiguration, features: VirtioBlockFeatures
    ) throws(VirtioBlockError) {
        let blockSize = features.contains(.blockSize) ? configuration.blockSize : 512
        guard blockSize >= 512, blockSize <= 65536, blockSize & (blockSize - 1) == 0 else { throw .blockSizeInvalid(blockSize) }
        let (size, overflow) = configuration.capacity.multipliedReportingOverflow(by: VirtioBlockHeader.sectorSize)
        guard !overflow, size <= UInt64(Int64.max), size % UInt64(blockSize) == 0 else {
            throw .capacityInvalid(configuration.capacity)
        }
        let segmentSize = features.contains(.maximumSegmentSize) ? configuration.maximumSegmentSize : UInt32.max
        let segments = features.contains(.maximumSegments) ? configuration.maximumSegments : 1
        guard segmentSize >= blockSize, segments >= 1 else { throw .segmentsInvalid(size: segmentSize, count: segments) }

        self.size = size
        self.blockSize = blockSize
        maximumSegmentSize = segmentSize & ~(blockSize - 1)
        maximumSegments = segments
        isReadOnly = features.contains(.readOnly)
        canFlush = features.contains(.flush)
        queueCount = features.contains(.multipleQueues) ? max(1, configuration.queueCount) : 1

        // Topology is advice: numbers out of range are ignored, not refused.
        var physical = blockSize
        var optimal: UInt32 = 0
        if features.contains(.topology) {
            if configuration.physicalBlockExponent < 16 {
                let (wide, tooWide) = blockSize.multipliedReportingOverflow(by: 1 << UInt32(configuration.physicalBlockExponent))
                if !tooWide { physical = wide }
            }
            let (wide, tooWide) = configuration.optimalIOBlocks.multipliedReportingOverflow(by: blockSize)
            if !tooWide { optimal = wide }
        }
        physicalBlockSize = physical
        optimalIOSize = optimal

        let unit = UInt64(blockSize)
        func whole(_ sectors: UInt32) -> UInt64 { UInt64(sectors) * VirtioBlockHeader.sectorSize / unit * unit }
        let discards = features.contains(.discard) && configuration.maximumDiscardSegments > 0
        maximumDiscard = discards ? whole(configuration.maximumDiscardSectors) : 0
        discardAlignment = discards ? max(unit, whole(configuration.discardSectorAlignment)) : unit
        let zeroes = features.contains(.writeZeroes) && configuration.maximumWriteZeroesSegments > 0
        maximumWriteZeroes = zeroes ? whole(configuration.maximumWriteZeroesSectors) : 0
        writeZeroesMayUnmap = zeroes && configuration.writeZeroesMayUnmap
    }

    /// Whether a range lies within the disk and on block boundaries. Cannot overflow.
    @inlinable
    public func contains(offset: UInt64, length: UInt64) -> Bool {
        let mask = UInt64(blockSize) &- 1
        return offset <= size && length <= size &- offset && (offset | length) & mask == 0
    }
}
