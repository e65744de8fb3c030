/// What is wrong with a ring: a peer that breaks the rules of the virtio specification (or, from `add`, a caller that does).
///
/// Whoever gets one from a peer's ring ends the session: the queue's state is not to be trusted any more.
public enum VirtqueueError: Error, Equatable, Sendable {
    // MARK: set-up
    /// Not a power of two from 1 to 32768 (virtio 1.2, 2.7).
    case sizeInvalid(UInt32)
    /// A part of the queue is not aligned as 2.7 wants it.
    case partMisaligned(address: UInt64)
    /// A part of the queue does not lie in the memory.
    case partOutsideMemory(address: UInt64)

    // MARK: what the driver wrote
    /// The avail index has moved further than the queue is long.
    case availIndexInvalid(expected: UInt16, found: UInt16)
    /// A head or `next` that is not the number of a descriptor of its table.
    case descriptorOutOfRange(UInt16)
    /// More descriptors than the queue has: the chain runs in a circle.
    case chainLoops(head: UInt16)
    /// More descriptors than the device said it takes, or than the caller's `DescriptorChain` holds.
    case chainTooLong(head: UInt16)
    /// A buffer that does not lie in the memory.
    case bufferOutsideMemory(address: UInt64, length: UInt32)
    /// A device-readable buffer after a device-writable one (2.7.4.2).
    case readableAfterWritable(head: UInt16)
    /// An indirect table although the feature was not negotiated.
    case indirectNotNegotiated(head: UInt16)
    /// An indirect table in an indirect table, or one with a `next` (2.7.5.3.1).
    case indirectMisplaced(head: UInt16)
    /// An indirect table that is empty, no whole number of descriptors, misaligned or outside the memory.
    case indirectTableInvalid(address: UInt64, length: UInt32)

    // MARK: what the device wrote
    /// The used index has moved further than there are chains in flight.
    case usedIndexInvalid(expected: UInt16, found: UInt16)
    /// A used element whose id is not the head of a chain in flight: never made available, or used twice.
    case usedUnknown(id: UInt32)
    /// The device claims to have written more than the chain has room for.
    case usedLengthInvalid(id: UInt32, length: UInt32)

    // MARK: what the caller wants
    /// `add` of no buffers.
    case chainEmpty

    /// The error in words, with its numbers.
    public var description: String {
        switch self {
        case .sizeInvalid(let size): "queue size \(size) is not a power of two up to 32768"
        case .partMisaligned(let address): "queue part at \(address) is misaligned"
        case .partOutsideMemory(let address): "queue part at \(address) is outside the memory"
        case .availIndexInvalid(let expected, let found): "avail index jumped from \(expected) to \(found)"
        case .descriptorOutOfRange(let index): "descriptor number \(index) is out of range"
        case .chainLoops(let head): "descriptor chain \(head) runs in a circle"
        case .chainTooLong(let head): "descriptor chain \(head) is too long"
        case .bufferOutsideMemory(let address, let length): "buffer at \(address) of \(length) bytes is outside the memory"
        case .readableAfterWritable(let head): "descriptor chain \(head) has a readable buffer after a writable one"
        case .indirectNotNegotiated(let head): "descriptor chain \(head) is indirect, which was not negotiated"
        case .indirectMisplaced(let head): "descriptor chain \(head) has an indirect table where none may be"
        case .indirectTableInvalid(let address, let length): "indirect table at \(address) of \(length) bytes is invalid"
        case .usedIndexInvalid(let expected, let found): "used index jumped from \(expected) to \(found)"
        case .usedUnknown(let id): "used element names chain \(id), which is not in flight"
        case .usedLengthInvalid(let id, let length): "used element of chain \(id) claims \(length) bytes, more than it has room for"
        case .chainEmpty: "a chain needs at least one buffer"
        }
    }
}

extension VirtqueueError: CustomStringConvertible {}
