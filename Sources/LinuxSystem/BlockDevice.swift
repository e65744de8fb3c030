import CLinux

/// What Linux knows of a block device (`BLKGETSIZE64`, `BLKSSZGET`, …). Sizes in bytes.
public struct BlockDeviceLimits: Equatable, Sendable {
    public var size: UInt64
    public var logicalBlockSize: UInt32
    public var physicalBlockSize: UInt32
    /// 0: unknown.
    public var minimumIOSize: UInt32
    /// 0: unknown.
    public var optimalIOSize: UInt32
    public var isReadOnly: Bool
    public var isRotational: Bool
    /// The longest request that the kernel passes on whole; 0: unknown.
    public var maximumRequest: UInt32

    public init(
        size: UInt64, logicalBlockSize: UInt32, physicalBlockSize: UInt32, minimumIOSize: UInt32 = 0,
        optimalIOSize: UInt32 = 0, isReadOnly: Bool = false, isRotational: Bool = false, maximumRequest: UInt32 = 0
    ) {
        self.size = size
        self.logicalBlockSize = logicalBlockSize
        self.physicalBlockSize = physicalBlockSize
        self.minimumIOSize = minimumIOSize
        self.optimalIOSize = optimalIOSize
        self.isReadOnly = isReadOnly
        self.isRotational = isRotational
        self.maximumRequest = maximumRequest
    }
}

extension OwnedDescriptor {
    /// Asks the block device. `ENOTTY` for anything else.
    public borrowing func blockDeviceLimits() throws(SystemError) -> BlockDeviceLimits {
        var found = clinux_block_limits()
        let descriptor = rawValue
        // SAFETY: `found` outlives the call.
        try retrying("ioctl") { unsafe clinux_block_limits(descriptor, &found) }
        return BlockDeviceLimits(
            size: found.size, logicalBlockSize: found.logical_block_size, physicalBlockSize: found.physical_block_size,
            minimumIOSize: found.minimum_io_size, optimalIOSize: found.optimal_io_size, isReadOnly: found.read_only != 0,
            isRotational: found.rotational != 0, maximumRequest: found.max_sectors &* 512)
    }

    /// `BLKDISCARD`: the contents may be forgotten. Blocks. Bytes, multiples of the logical block size.
    public borrowing func discardBlocks(offset: UInt64, length: UInt64) throws(SystemError) {
        let descriptor = rawValue
        try retrying("ioctl") { clinux_block_discard(descriptor, offset, length) }
    }

    /// `BLKZEROOUT`: zeroes, by the device's own command or written by the kernel. Blocks.
    public borrowing func zeroBlocks(offset: UInt64, length: UInt64) throws(SystemError) {
        let descriptor = rawValue
        try retrying("ioctl") { clinux_block_write_zeroes(descriptor, offset, length) }
    }
}
