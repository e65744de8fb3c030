/// `struct virtio_net_hdr_v1`, in front of every packet (virtio 1.2, 5.1.6), little-endian:
///
///     offset  field        offset  field
///     0       flags  u8    6       csum_start   u16
///     1       gso    u8    8       csum_offset  u16
///     2       hdr_len u16  10      num_buffers  u16  of received packets
///     4       gso_size u16
public struct VirtioNetHeader: Equatable, Sendable {
    public static let byteCount = 12
    /// The longest packet that there is: an IP packet of 65535 bytes, an Ethernet header, two VLAN tags.
    public static let longestPacket = 65535 + 14 + 8
    /// An Ethernet header.
    public static let shortestPacket = 14

    public enum Flag {
        /// The checksum field holds only the pseudo-header's sum: complete it from `csum_start` on.
        public static let needsChecksum: UInt8 = 1
        /// Checksums were verified.
        public static let dataValid: UInt8 = 2
    }

    /// How a packet is to be cut.
    public enum Segmentation {
        public static let none: UInt8 = 0
        public static let tcp4: UInt8 = 1
        /// IP fragments of a UDP datagram.
        public static let udp: UInt8 = 3
        public static let tcp6: UInt8 = 4
        /// Several UDP datagrams.
        public static let udpDatagrams: UInt8 = 5
        /// With a TCP type: the first segment has CWR set.
        public static let ecn: UInt8 = 0x80
    }

    /// Segments of TCP, and fragments, have at least so many bytes: what is left of the smallest MTU of IPv4 (68), and the least that
    /// Linux's own TCP sends (`TCP_MIN_SND_MSS`). With one byte each, one packet of a driver's would be 65,000 of the host's.
    public static let smallestSegment: UInt16 = 48
    /// The most datagrams that Linux sends at once (`UDP_MAX_SEGMENTS`). They may be as small as they like.
    public static let mostDatagrams = 128

    public var flags: UInt8 = 0
    public var segmentation = Segmentation.none
    /// A hint: bytes of protocol headers.
    public var headerBytes: UInt16 = 0
    /// Bytes of payload in each segment.
    public var segmentBytes: UInt16 = 0
    public var checksumStart: UInt16 = 0
    public var checksumOffset: UInt16 = 0
    public var bufferCount: UInt16 = 0

    @inlinable public init() {}

    /// From the twelve bytes, as two little-endian words: 0 to 7, and 8 to 11. Nothing is checked.
    @inlinable
    public init(low: UInt64, high: UInt32) {
        flags = UInt8(truncatingIfNeeded: low)
        segmentation = UInt8(truncatingIfNeeded: low >> 8)
        headerBytes = UInt16(truncatingIfNeeded: low >> 16)
        segmentBytes = UInt16(truncatingIfNeeded: low >> 32)
        checksumStart = UInt16(truncatingIfNeeded: low >> 48)
        checksumOffset = UInt16(truncatingIfNeeded: high)
        bufferCount = UInt16(truncatingIfNeeded: high >> 16)
    }

    /// Bytes 0 to 7.
    @inlinable public var low: UInt64 {
        UInt64(flags) | UInt64(segmentation) << 8 | UInt64(headerBytes) << 16 | UInt64(segmentBytes) << 32 | UInt64(checksumStart) << 48
    }

    /// Bytes 8 to 11.
    @inlinable public var high: UInt32 { UInt32(checksumOffset) | UInt32(bufferCount) << 16 }

    /// A header that a driver wrote before a packet of `packetBytes`, checked for all that a device may be asked for with these
    /// features, and with everything else cleared (5.1.6.2.2).
    /// - Throws: what is wrong with it; the packet is to be dropped.
    @inlinable
    public init(untrustedLow low: UInt64, high: UInt32, packetBytes: Int, features: VirtioNetFeatures) throws(VirtioNetHeaderError) {
        self.init(low: low, high: high)
        guard packetBytes >= Self.shortestPacket, packetBytes <= Self.longestPacket else { throw .packetSize(packetBytes) }
        // Flags of received packets and unknown ones mean nothing here.
        flags &= Flag.needsChecksum
        bufferCount = 0
        if flags != 0 {
            guard features.contains(.checksum) else { throw .notNegotiated }
            guard checksumStart >= Self.shortestPacket, Int(checksumStart) + Int(checksumOffset) + 2 <= packetBytes else {
                throw .checksumOutsidePacket
            }
        } else {
            checksumStart = 0
            checksumOffset = 0
        }
        guard segmentation != Segmentation.none else {
            segmentBytes = 0
            headerBytes = 0
            return
        }
        guard let needed = Self.hostFeature(segmentation) else { throw .segmentationUnknown(segmentation) }
        guard features.isSuperset(of: needed) else { throw .notNegotiated }
        // Segments are cut with checksums of their own, so the first has to be known; UDP fragments share one.
        guard flags != 0 || segmentation == Segmentation.udp else { throw .segmentationWithoutChecksum }
        // The checksum begins where the UDP header of eight bytes does.
        let payload = max(1, packetBytes - Int(checksumStart) - 8)
        let smallest =
            segmentation == Segmentation.udpDatagrams
            ? UInt16((payload + Self.mostDatagrams - 1) / Self.mostDatagrams) : Self.smallestSegment
        guard segmentBytes >= smallest else { throw .segmentTooSmall(segmentBytes) }
        guard Int(headerBytes) <= packetBytes else { throw .headersOutsidePacket }
    }

    /// What a driver must have negotiated to send this; nil: there is no such type.
    @inlinable
    static func hostFeature(_ type: UInt8) -> VirtioNetFeatures? {
        switch type {
        case Segmentation.tcp4: .hostTSO4
        case Segmentation.tcp4 | Segmentation.ecn: [.hostTSO4, .hostECN]
        case Segmentation.tcp6: .hostTSO6
        case Segmentation.tcp6 | Segmentation.ecn: [.hostTSO6, .hostECN]
        case Segmentation.udp: .hostUFO
        case Segmentation.udpDatagrams: .hostUSO
        default: nil
        }
    }

    /// Clears what a driver that negotiated these features must not be told of a packet (5.1.6.4.1).
    /// - Returns: false: the driver cannot take the packet at all.
    @inlinable
    public mutating func restrict(to features: VirtioNetFeatures) -> Bool {
        if !features.contains(.guestChecksum) {
            guard flags & Flag.needsChecksum == 0 else { return false }
            // That somebody verified its checksums is of no use to it either.
            flags = 0
            checksumStart = 0
            checksumOffset = 0
        }
        switch segmentation {
        case Segmentation.none: return true
        case Segmentation.tcp4: return features.contains(.guestTSO4)
        case Segmentation.tcp6: return features.contains(.guestTSO6)
        case Segmentation.tcp4 | Segmentation.ecn: return features.isSuperset(of: [.guestTSO4, .guestECN])
        case Segmentation.tcp6 | Segmentation.ecn: return features.isSuperset(of: [.guestTSO6, .guestECN])
        case Segmentation.udp: return features.contains(.guestUFO)
        case Segmentation.udpDatagrams: return features.isSuperset(of: [.guestUSO4, .guestUSO6])
        default: return false
        }
    }
}

/// Why a driver's packet is dropped.
public enum VirtioNetHeaderError: Error, Equatable, Sendable {
    /// Shorter than an Ethernet header, or longer than any packet.
    case packetSize(Int)
    /// It asks for something that was not negotiated.
    case notNegotiated
    case checksumOutsidePacket
    case headersOutsidePacket
    case segmentationUnknown(UInt8)
    case segmentationWithoutChecksum
    /// So many pieces that cutting it would be an attack.
    case segmentTooSmall(UInt16)
}
