/// `struct virtio_net_config` up to `duplex` (virtio 1.2, 5.1.4), little-endian:
///
///     offset  field          offset  field
///     0       mac  u8 × 6    10      mtu     u16
///     6       status  u16    12      speed   u32  Mbit/s; 2³² − 1: unknown
///     8       pairs   u16    16      duplex  u8   0 half, 1 full, 255 unknown
public struct VirtioNetConfiguration: Equatable, Sendable {
    public static let byteCount = 17
    public static let unknownSpeed = UInt32.max
    public static let unknownDuplex = UInt8.max

    /// In the low 48 bits; the first byte on the wire is the highest.
    public var mac: UInt64
    /// VIRTIO_NET_S_LINK_UP.
    public var hasLink: Bool
    /// `max_virtqueue_pairs`.
    public var queuePairs: UInt16
    /// Bytes of payload of an Ethernet frame.
    public var mtu: UInt16
    /// Mbit/s.
    public var speed: UInt32
    public var duplex: UInt8

    public init(
        mac: UInt64, hasLink: Bool, queuePairs: UInt16 = 1, mtu: UInt16, speed: UInt32 = unknownSpeed, duplex: UInt8 = unknownDuplex
    ) {
        self.mac = mac
        self.hasLink = hasLink
        self.queuePairs = queuePairs
        self.mtu = mtu
        self.speed = speed
        self.duplex = duplex
    }

    /// Decodes and checks; nil: too short, a multicast or zero address, an MTU below 68 (5.1.4.1), a duplex that does not exist.
    public init?(untrusted bytes: Span<UInt8>) {
        guard bytes.count >= Self.byteCount else { return nil }
        func u16(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8 }
        var address: UInt64 = 0
        for index in 0..<6 { address = address << 8 | UInt64(bytes[index]) }
        self.init(
            mac: address, hasLink: u16(6) & 1 != 0, queuePairs: u16(8), mtu: u16(10), speed: UInt32(u16(12)) | UInt32(u16(14)) << 16,
            duplex: bytes[16])
        guard address != 0, bytes[0] & 1 == 0, mtu >= 68, duplex <= 1 || duplex == Self.unknownDuplex else { return nil }
    }

    /// Byte `index` of the structure, 0 to 16; 0 past its end.
    public func byte(_ index: Int) -> UInt8 {
        func part<Value: FixedWidthInteger>(_ value: Value, _ place: Int) -> UInt8 { UInt8(truncatingIfNeeded: value >> Value(place * 8)) }
        switch index {
        case 0...5: return part(mac, 5 - index)
        case 6: return hasLink ? 1 : 0
        case 8, 9: return part(queuePairs, index - 8)
        case 10, 11: return part(mtu, index - 10)
        case 12...15: return part(speed, index - 12)
        case 16: return duplex
        default: return 0
        }
    }
}
