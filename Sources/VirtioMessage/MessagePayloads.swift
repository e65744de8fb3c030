/// A variable-length part of a message: where it lies in the message's bytes (header included).
public struct MessageData: Equatable, Sendable {
    public var offset: Int
    public var count: Int

    init(offset: Int, count: Int) {
        self.offset = offset
        self.count = count
    }
}

/// The answer to GET_DEVICE_INFO. All zero for a device number without a device.
public struct DeviceInfo: Equatable, Sendable {
    /// The virtio device type: 2 is a block device.
    public var deviceID: UInt32
    public var vendorID: UInt32
    /// A multiple of 32.
    public var featureBits: UInt32
    /// Bytes in the configuration space.
    public var configurationSize: UInt32
    public var maximumVirtqueues: UInt32
    public var adminQueueStart: UInt16
    public var adminQueueCount: UInt16

    public init(
        deviceID: UInt32 = 0, vendorID: UInt32 = 0, featureBits: UInt32 = 0, configurationSize: UInt32 = 0,
        maximumVirtqueues: UInt32 = 0, adminQueueStart: UInt16 = 0, adminQueueCount: UInt16 = 0
    ) {
        self.deviceID = deviceID
        self.vendorID = vendorID
        self.featureBits = featureBits
        self.configurationSize = configurationSize
        self.maximumVirtqueues = maximumVirtqueues
        self.adminQueueStart = adminQueueStart
        self.adminQueueCount = adminQueueCount
    }
}

/// A run of 32-bit feature blocks ("Feature Negotiation Blocks"). Drover knows features 0…63: blocks 0 and 1.
public struct FeatureBlocks: Equatable, Sendable {
    /// The number of the first block.
    public var first: UInt32
    /// How many blocks the message carries or asks for.
    public var count: UInt32
    /// The features of blocks 0 and 1, each at its own bit; those that the run does not cover are zero.
    public var bits: UInt64
    /// Whether any feature from number 64 on is set.
    public var hasUnknownBits: Bool

    public init(first: UInt32, count: UInt32, bits: UInt64 = 0, hasUnknownBits: Bool = false) {
        self.first = first
        self.count = count
        self.bits = bits
        self.hasUnknownBits = hasUnknownBits
    }

    /// The bits of `bits` that the run covers.
    public var coverage: UInt64 {
        var mask: UInt64 = 0
        if first == 0, count > 0 { mask |= 0xFFFF_FFFF }
        if first == 1 ? count > 0 : first == 0 && count > 1 { mask |= 0xFFFF_FFFF_0000_0000 }
        return mask
    }
}

/// A virtqueue's place and size, in GET_VQUEUE's answer and in SET_VQUEUE. Addresses are offsets into the pool.
public struct QueueConfiguration: Equatable, Sendable {
    public var index: UInt32
    /// The largest size the device takes (GET_VQUEUE only); zero: no such queue.
    public var maximumSize: UInt32
    /// The number of descriptors; zero: not set up.
    public var size: UInt32
    /// The descriptor area.
    public var descriptors: UInt64
    /// The driver area: the avail ring.
    public var driver: UInt64
    /// The device area: the used ring.
    public var device: UInt64

    public init(index: UInt32, maximumSize: UInt32 = 0, size: UInt32, descriptors: UInt64, driver: UInt64, device: UInt64) {
        self.index = index
        self.maximumSize = maximumSize
        self.size = size
        self.descriptors = descriptors
        self.driver = driver
        self.device = device
    }
}

/// The answer to GET_DEVICES: which of a window of device numbers exist.
public struct DeviceWindow: Equatable, Sendable {
    /// The first number of the window, a multiple of 8.
    public var offset: UInt16
    /// The length of the window, a multiple of 8, 64 at most.
    public var count: UInt16
    /// Where to ask next; 0: there are no more.
    public var next: UInt16
    /// Bit n: device `offset + n` is present.
    public var present: UInt64

    public init(offset: UInt16, count: UInt16, next: UInt16, present: UInt64) {
        self.offset = offset
        self.count = count
        self.next = next
        self.present = present
    }
}

/// The fixed part of POOL; the extents are read with `PoolDescription.extent(_:in:)`.
///
///      offset  size  field
///           0     4  version (1)
///           4     4  page size in bytes: each extent is a multiple of it, and aligned to it
///           8     4  flags: bit 0: extents are offsets into the file descriptor that came with the message
///          12     4  number of extents; 0: this DD/OS shares no memory (its devices have no virtqueues here)
///          16  16×n  extents: u64 address (guest-physical, or offset in the file), u64 length in bytes
///
/// The extents lie side by side in the pool in this order: pool offset 0 is the start of the first extent.
public struct PoolDescription: Equatable, Sendable {
    public static let headerBytes = 16
    public static let extentBytes = 16
    /// The most extents that fit one message.
    public static let maximumExtents =
        (VirtioMessageLimits.maximumMessageSize - MessageHeader.byteCount - headerBytes) / extentBytes

    public var pageSize: UInt32
    /// Whether the extents are offsets into the file descriptor that came along (SCM_RIGHTS), not guest-physical.
    public var isFile: Bool
    public var extentCount: Int

    public init(pageSize: UInt32, isFile: Bool, extentCount: Int) {
        self.pageSize = pageSize
        self.isFile = isFile
        self.extentCount = extentCount
    }

    /// Extent number `index` of the POOL message whose bytes are `message`.
    public func extent(_ index: Int, in message: Span<UInt8>) -> PoolExtent {
        precondition(index >= 0 && index < extentCount)
        let offset = MessageHeader.byteCount + Self.headerBytes + index * Self.extentBytes
        return PoolExtent(address: message.u64(at: offset), length: message.u64(at: offset + 8))
    }
}

/// A contiguous part of the pool.
public struct PoolExtent: Equatable, Sendable {
    /// Guest-physical address, or offset into the pool's file.
    public var address: UInt64
    /// In bytes.
    public var length: UInt64

    public init(address: UInt64, length: UInt64) {
        self.address = address
        self.length = length
    }
}

/// How INJECT makes the server stub fail.
public enum InjectedFault: UInt32, Sendable, CaseIterable {
    /// Stop serving and answering, for good.
    case hang = 1
    /// Panic the guest's kernel (natively: abort the process).
    case panic = 2
}

/// `device_bus_state` of EVENT_DEVICE.
public enum DeviceBusState: UInt16, Sendable {
    case ready = 1
    case removed = 2
}

/// The device status field (virtio 1.2, section 2.1).
public struct DeviceStatus: OptionSet, Equatable, Sendable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let acknowledge = DeviceStatus(rawValue: 1)
    public static let driver = DeviceStatus(rawValue: 2)
    public static let driverOK = DeviceStatus(rawValue: 4)
    public static let featuresOK = DeviceStatus(rawValue: 8)
    public static let needsReset = DeviceStatus(rawValue: 64)
    public static let failed = DeviceStatus(rawValue: 128)
}

/// Feature bits that belong to the ring and the transport (virtio 1.2, section 6).
public enum TransportFeature {
    public static let indirectDescriptors: UInt64 = 1 << 28
    public static let eventIndex: UInt64 = 1 << 29
    public static let version1: UInt64 = 1 << 32
    public static let notificationData: UInt64 = 1 << 38
    public static let ringReset: UInt64 = 1 << 40
}
