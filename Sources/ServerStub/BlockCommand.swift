internal import LinuxSystem
internal import VirtioBlock
internal import Virtqueue

/// A request that was checked in full: nothing in it can reach past the disk. Offsets and lengths are bytes.
enum BlockCommand: Equatable {
    case read(offset: UInt64, length: UInt64)
    case write(offset: UInt64, length: UInt64)
    case flush
    case discard(offset: UInt64, length: UInt64)
    case writeZeroes(offset: UInt64, length: UInt64, unmap: Bool)
    case identify
    /// Answered at once.
    case refuse(VirtioBlockStatus)
}

/// The geometry that requests are checked against.
struct BlockBounds {
    /// In bytes, a multiple of `blockSize`.
    let size: UInt64
    let blockSize: UInt64
    let isReadOnly: Bool
    let canDiscard: Bool

    init(_ disk: DiskDescription) {
        blockSize = UInt64(max(disk.limits.logicalBlockSize, 512))
        size = disk.limits.size / blockSize * blockSize
        isReadOnly = disk.limits.isReadOnly
        canDiscard = disk.canDiscard
    }

    /// Whether all of the range lies on the disk, in whole blocks.
    func holds(offset: UInt64, length: UInt64) -> Bool {
        offset <= size && length <= size - offset && offset % blockSize == 0 && length % blockSize == 0
    }
}

extension BlockCommand {
    /// All checks of a request, in one place (virtio 1.2, 5.2.6). The chain has a status byte.
    init(_ chain: borrowing DescriptorChain, bounds: BlockBounds) {
        var private16: (UInt64, UInt64) = (0, 0)
        // SAFETY: sixteen bytes of this frame, filled once from shared memory and only then looked at.
        let header = unsafe withUnsafeMutableBytes(of: &private16) { bytes -> VirtioBlockHeader? in
            guard unsafe chain.copyReadable(into: bytes) == VirtioBlockHeader.byteCount else { return nil }
            return unsafe VirtioBlockHeader(loading: bytes.baseAddress.unsafelyUnwrapped)
        }
        guard let header else {
            self = .refuse(.ioError)
            return
        }
        let payload = chain.readableBytes - UInt64(VirtioBlockHeader.byteCount)
        let room = chain.writableBytes - 1
        switch header.operation {
        case .read: self = Self.transfer(header.sector, room, bounds) { .read(offset: $0, length: $1) }
        case .write:
            guard !bounds.isReadOnly else {
                self = .refuse(.ioError)
                return
            }
            self = Self.transfer(header.sector, payload, bounds) { .write(offset: $0, length: $1) }
        case .flush: self = .flush
        case .getID: self = .identify
        case .discard, .writeZeroes:
            self = Self.range(chain, payload, isDiscard: header.operation == .discard, bounds)
        case nil: self = .refuse(.unsupported)
        }
    }

    private static func transfer(
        _ sector: UInt64, _ length: UInt64, _ bounds: BlockBounds, _ make: (UInt64, UInt64) -> BlockCommand
    ) -> BlockCommand {
        let (offset, overflow) = sector.multipliedReportingOverflow(by: VirtioBlockHeader.sectorSize)
        guard !overflow, bounds.holds(offset: offset, length: length) else { return .refuse(.ioError) }
        return make(offset, length)
    }

    private static func range(
        _ chain: borrowing DescriptorChain, _ payload: UInt64, isDiscard: Bool, _ bounds: BlockBounds
    ) -> BlockCommand {
        guard !bounds.isReadOnly else { return .refuse(.ioError) }
        guard !isDiscard || bounds.canDiscard else { return .refuse(.unsupported) }
        // One range per request is what the configuration space offers.
        guard payload == UInt64(VirtioBlockRange.byteCount) else { return .refuse(.unsupported) }
        var private16: (UInt64, UInt64) = (0, 0)
        // SAFETY: as above.
        let range = unsafe withUnsafeMutableBytes(of: &private16) { bytes in
            _ = unsafe chain.copyReadable(from: UInt64(VirtioBlockHeader.byteCount), into: bytes)
            return unsafe VirtioBlockRange(loading: bytes.baseAddress.unsafelyUnwrapped)
        }
        // A discard has no flags; write-zeroes has one (virtio 1.2, 5.2.6.2).
        guard range.flags & ~(isDiscard ? 0 : 1) == 0 else { return .refuse(.unsupported) }
        let (offset, overflow) = range.sector.multipliedReportingOverflow(by: VirtioBlockHeader.sectorSize)
        let length = UInt64(range.sectorCount) * VirtioBlockHeader.sectorSize
        guard !overflow, bounds.holds(offset: offset, length: length) else { return .refuse(.ioError) }
        return isDiscard
            ? .discard(offset: offset, length: length) : .writeZeroes(offset: offset, length: length, unmap: range.unmap)
    }
}
