/// The feature bits that Drover's disks use (virtio 1.2, 5.2.3 and 6).
public struct VirtioBlockFeatures: OptionSet, Sendable {
    public let rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// `size_max` holds.
    public static let maximumSegmentSize = VirtioBlockFeatures(rawValue: 1 << 1)
    /// `seg_max` holds.
    public static let maximumSegments = VirtioBlockFeatures(rawValue: 1 << 2)
    /// The disk cannot be written.
    public static let readOnly = VirtioBlockFeatures(rawValue: 1 << 5)
    /// `blk_size` holds.
    public static let blockSize = VirtioBlockFeatures(rawValue: 1 << 6)
    /// There is a cache, and `flush` empties it.
    public static let flush = VirtioBlockFeatures(rawValue: 1 << 9)
    /// The topology fields hold.
    public static let topology = VirtioBlockFeatures(rawValue: 1 << 10)
    /// `num_queues` holds.
    public static let multipleQueues = VirtioBlockFeatures(rawValue: 1 << 12)
    /// `discard` works.
    public static let discard = VirtioBlockFeatures(rawValue: 1 << 13)
    /// `writeZeroes` works.
    public static let writeZeroes = VirtioBlockFeatures(rawValue: 1 << 14)
    /// VIRTIO_F_INDIRECT_DESC.
    public static let indirectDescriptors = VirtioBlockFeatures(rawValue: 1 << 28)
    /// VIRTIO_F_EVENT_IDX.
    public static let eventIndex = VirtioBlockFeatures(rawValue: 1 << 29)
    /// VIRTIO_F_VERSION_1: not the legacy device.
    public static let version1 = VirtioBlockFeatures(rawValue: 1 << 32)
}
