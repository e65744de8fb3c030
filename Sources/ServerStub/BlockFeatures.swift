internal import LinuxSystem
internal import VirtioBlock
internal import VirtioMessage

/// What the server stub offers for a disk: feature bits and configuration space (virtio 1.2, 5.2.3 and 5.2.4).
enum BlockFeatures {
    /// Buffers of one request, header and status not counted (`seg_max`).
    static let maximumSegments = 126
    /// Bytes in one of them (`size_max`).
    static let maximumSegmentSize: UInt32 = 4 << 20
    /// Bytes of one discard or fast write-zeroes: more would only make one request take long.
    private static let mostBytes: UInt64 = 1 << 30
    /// Bytes of one discard that the server waits for, see `StubServer.finishDiscard`.
    private static let mostWaitedFor: UInt64 = 64 << 20
    /// Bytes of one write-zeroes that the kernel has to write out.
    private static let mostWrittenZeroes: UInt64 = 16 << 20

    static func offered(for disk: DiskDescription) -> UInt64 {
        var features: VirtioBlockFeatures = [
            .maximumSegmentSize, .maximumSegments, .blockSize, .flush, .topology, .multipleQueues, .indirectDescriptors,
            .eventIndex, .version1,
        ]
        if disk.limits.isReadOnly {
            features.insert(.readOnly)
        } else {
            features.insert(.writeZeroes)
            if disk.canDiscard { features.insert(.discard) }
        }
        return features.rawValue | TransportFeature.ringReset
    }

    static func configuration(for disk: DiskDescription, queueCount: Int) -> [UInt8] {
        let block = max(disk.limits.logicalBlockSize, 512)
        let sectorsPerBlock = block / 512
        var space = VirtioBlockConfiguration()
        // A tail that is no whole block cannot be reached with O_DIRECT.
        space.capacity = disk.limits.size / UInt64(block) * UInt64(sectorsPerBlock)
        space.maximumSegmentSize = maximumSegmentSize
        space.maximumSegments = UInt32(maximumSegments)
        space.blockSize = block
        if disk.limits.physicalBlockSize > block {
            space.physicalBlockExponent = UInt8((disk.limits.physicalBlockSize / block).trailingZeroBitCount)
        }
        space.minimumIOBlocks = UInt16(clamping: disk.limits.minimumIOSize / block)
        space.optimalIOBlocks = disk.limits.optimalIOSize / block
        space.queueCount = UInt16(queueCount)
        guard !disk.limits.isReadOnly else { return space.encoded() }
        if disk.canDiscard {
            let wanted = disk.hasFastZeroes ? mostBytes : mostWaitedFor
            let most = disk.maximumDiscard == 0 ? wanted : min(wanted, disk.maximumDiscard)
            space.maximumDiscardSectors = UInt32(most / UInt64(block)) * sectorsPerBlock
            space.maximumDiscardSegments = 1
            space.discardSectorAlignment = sectorsPerBlock
        }
        let zeroes = disk.hasFastZeroes ? mostBytes : mostWrittenZeroes
        space.maximumWriteZeroesSectors = UInt32(zeroes / UInt64(block)) * sectorsPerBlock
        space.maximumWriteZeroesSegments = 1
        space.writeZeroesMayUnmap = disk.canDiscard
        return space.encoded()
    }
}
