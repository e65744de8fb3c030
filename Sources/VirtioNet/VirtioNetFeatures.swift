/// Feature bits of the network device (virtio 1.2, 5.1.3; bits 54 to 56: 1.3).
///
/// "Host" is the device, "guest" the driver: `HOST_TSO4` lets the driver send large packets, `GUEST_TSO4` lets the device.
public struct VirtioNetFeatures: OptionSet, Equatable, Sendable {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The driver may leave checksums of what it sends to the device.
    public static let checksum = VirtioNetFeatures(rawValue: 1 << 0)
    /// The driver takes packets with partial checksums.
    public static let guestChecksum = VirtioNetFeatures(rawValue: 1 << 1)
    public static let mtu = VirtioNetFeatures(rawValue: 1 << 3)
    public static let mac = VirtioNetFeatures(rawValue: 1 << 5)
    public static let guestTSO4 = VirtioNetFeatures(rawValue: 1 << 7)
    public static let guestTSO6 = VirtioNetFeatures(rawValue: 1 << 8)
    public static let guestECN = VirtioNetFeatures(rawValue: 1 << 9)
    public static let guestUFO = VirtioNetFeatures(rawValue: 1 << 10)
    public static let hostTSO4 = VirtioNetFeatures(rawValue: 1 << 11)
    public static let hostTSO6 = VirtioNetFeatures(rawValue: 1 << 12)
    public static let hostECN = VirtioNetFeatures(rawValue: 1 << 13)
    public static let hostUFO = VirtioNetFeatures(rawValue: 1 << 14)
    /// A packet may come in several receive buffers.
    public static let mergeableBuffers = VirtioNetFeatures(rawValue: 1 << 15)
    public static let status = VirtioNetFeatures(rawValue: 1 << 16)
    public static let controlQueue = VirtioNetFeatures(rawValue: 1 << 17)
    public static let controlReceive = VirtioNetFeatures(rawValue: 1 << 18)
    public static let controlVLAN = VirtioNetFeatures(rawValue: 1 << 19)
    public static let controlReceiveExtra = VirtioNetFeatures(rawValue: 1 << 20)
    public static let multipleQueues = VirtioNetFeatures(rawValue: 1 << 22)
    public static let controlMAC = VirtioNetFeatures(rawValue: 1 << 23)
    public static let indirectDescriptors = VirtioNetFeatures(rawValue: 1 << 28)
    public static let eventIndex = VirtioNetFeatures(rawValue: 1 << 29)
    public static let version1 = VirtioNetFeatures(rawValue: 1 << 32)
    public static let guestUSO4 = VirtioNetFeatures(rawValue: 1 << 54)
    public static let guestUSO6 = VirtioNetFeatures(rawValue: 1 << 55)
    public static let hostUSO = VirtioNetFeatures(rawValue: 1 << 56)
    public static let speedDuplex = VirtioNetFeatures(rawValue: 1 << 63)
}
