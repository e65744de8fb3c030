/// What a virtio-blk request asks for (virtio 1.2, 5.2.6, VIRTIO_BLK_T_…).
public enum VirtioBlockOperation: UInt32, Sendable, CaseIterable {
    /// Device to driver.
    case read = 0
    /// Driver to device.
    case write = 1
    /// Everything that completed before is durable when this completes.
    case flush = 4
    /// Twenty bytes that name the disk, zero-padded.
    case getID = 8
    /// The contents of a range may be forgotten.
    case discard = 11
    /// A range reads as zeroes afterwards.
    case writeZeroes = 13
}

/// How a request ended: the last device-writable byte (virtio 1.2, 5.2.6, VIRTIO_BLK_S_…).
public enum VirtioBlockStatus: UInt8, Sendable, CaseIterable {
    case ok = 0
    case ioError = 1
    case unsupported = 2
}

/// The first sixteen device-readable bytes of a request. Numbers are little-endian.
///
///     offset  field
///     0       type u32       VirtioBlockOperation
///     4       reserved u32   0
///     8       sector u64     in units of 512 bytes, whatever the block size; 0 unless read or write
public struct VirtioBlockHeader: Equatable, Sendable {
    /// Bytes in memory.
    public static let byteCount = 16
    /// Bytes in a sector, the unit of `sector` and of all capacities.
    public static let sectorSize: UInt64 = 512
    /// Bytes of the answer to `getID`.
    public static let idByteCount = 20

    /// The raw type: see `operation`.
    public var type: UInt32
    /// Where on the disk, in units of 512 bytes.
    public var sector: UInt64

    @inlinable
    public init(_ operation: VirtioBlockOperation, sector: UInt64 = 0) {
        type = operation.rawValue
        self.sector = sector
    }

    /// Reads a header from 16 bytes of *private* memory, or takes the one look that is allowed at shared memory.
    @unsafe @inlinable
    public init(loading bytes: UnsafeRawPointer) {
        // SAFETY: the caller vouches for 16 bytes; each is read once.
        type = unsafe UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
        sector = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    /// nil: a type that Drover does not know, to be answered with `unsupported`.
    @inlinable
    public var operation: VirtioBlockOperation? { VirtioBlockOperation(rawValue: type) }

    /// Writes the header to 16 bytes.
    @unsafe @inlinable
    public func store(to bytes: UnsafeMutableRawPointer) {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe bytes.storeBytes(of: UInt64(type).littleEndian, as: UInt64.self)
        unsafe bytes.storeBytes(of: sector.littleEndian, toByteOffset: 8, as: UInt64.self)
    }
}

/// The data of a `discard` or `writeZeroes` request: one or more of these (virtio 1.2, 5.2.6).
///
///     offset  field
///     0       sector u64        in units of 512 bytes
///     8       num_sectors u32   in units of 512 bytes
///     12      flags u32         bit 0: unmap (write zeroes only)
public struct VirtioBlockRange: Equatable, Sendable {
    /// Bytes in memory.
    public static let byteCount = 16

    public var sector: UInt64
    public var sectorCount: UInt32
    /// The raw flags: bits other than 0 are reserved, and a device answers `unsupported` to them.
    public var flags: UInt32

    @inlinable
    public init(sector: UInt64, sectorCount: UInt32, unmap: Bool = false) {
        self.sector = sector
        self.sectorCount = sectorCount
        flags = unmap ? 1 : 0
    }

    /// Reads a range from 16 bytes of *private* memory, or takes the one look that is allowed at shared memory.
    @unsafe @inlinable
    public init(loading bytes: UnsafeRawPointer) {
        // SAFETY: the caller vouches for 16 bytes; each is read once.
        sector = unsafe UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        sectorCount = unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        flags = unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
    }

    /// The zeroes may be had by giving the blocks up.
    @inlinable public var unmap: Bool { flags & 1 != 0 }

    /// Writes the range to 16 bytes.
    @unsafe @inlinable
    public func store(to bytes: UnsafeMutableRawPointer) {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe bytes.storeBytes(of: sector.littleEndian, as: UInt64.self)
        unsafe bytes.storeBytes(of: sectorCount.littleEndian, toByteOffset: 8, as: UInt32.self)
        unsafe bytes.storeBytes(of: flags.littleEndian, toByteOffset: 12, as: UInt32.self)
    }

    /// The range in bytes, if all of it lies within a disk of `capacity` sectors; nil otherwise. Cannot overflow.
    @inlinable
    public func bytes(withinSectors capacity: UInt64) -> (offset: UInt64, length: UInt64)? {
        guard sector <= capacity, UInt64(sectorCount) <= capacity - sector, capacity <= UInt64(Int64.max) / VirtioBlockHeader.sectorSize
        else { return nil }
        return (sector * VirtioBlockHeader.sectorSize, UInt64(sectorCount) * VirtioBlockHeader.sectorSize)
    }
}
