internal import CLinux

/// What the kernel says of a network interface (RTM_NEWLINK).
public struct Link: Equatable, Sendable {
    /// The kernel's number of it; never used twice in a namespace.
    public var index: Int32
    public var name: String
    /// Nil for interfaces without an Ethernet address.
    public var mac: MACAddress?
    /// The address in the device's ROM; nil where the driver does not know.
    public var permanentMAC: MACAddress?
    /// Bytes of payload of a frame, and what the driver takes. 0 as largest: the driver does not say.
    public var mtu: UInt32 = 0
    public var smallestMTU: UInt32 = 0
    public var largestMTU: UInt32 = 0
    /// IFF_… bits.
    public var flags: UInt32 = 0
    /// Whether the driver has a connection; without meaning while the interface is down.
    public var hasCarrier = false
    /// How many users asked for promiscuity.
    public var promiscuity: UInt32 = 0
    /// The bridge or bond it belongs to; nil: none.
    public var master: Int32?
    public var transmitQueueLength: UInt32 = 0
    /// "veth", "bridge", "tun"…; empty for a device.
    public var kind = ""
    /// "0000:00:10.0" of "pci", where the kernel says (5.14 and later).
    public var parentDevice = ""
    /// Whatever somebody noted about it (`ip link set … alias`); empty: nothing.
    public var alias = ""

    public static func == (left: Link, right: Link) -> Bool {
        left.index == right.index && left.mac == right.mac && left.permanentMAC == right.permanentMAC && left.mtu == right.mtu
            && left.smallestMTU == right.smallestMTU && left.largestMTU == right.largestMTU && left.flags == right.flags
            && left.hasCarrier == right.hasCarrier && left.promiscuity == right.promiscuity && left.master == right.master
            && left.transmitQueueLength == right.transmitQueueLength && left.name.utf8.elementsEqual(right.name.utf8)
            && left.alias.utf8.elementsEqual(right.alias.utf8)
    }

    private func has(_ flag: Int) -> Bool { flags & UInt32(flag) != 0 }

    public var isUp: Bool { has(IFF_UP) }
    /// Asked for by an administrator; `promiscuity` counts all who did.
    public var isPromiscuous: Bool { has(IFF_PROMISC) }
    public var receivesAllMulticast: Bool { has(IFF_ALLMULTI) }

    /// Reads the payload of RTM_NEWLINK or RTM_DELLINK; nil if it is too short to be one.
    ///
    ///      0        1     2      4       8       12       16
    ///      | family | pad | type | index | flags | change | attributes …
    public init?(untrusted payload: ArraySlice<UInt8>) {
        guard payload.count >= LinkRequest.structBytes else { return nil }
        index = Int32(bitPattern: payload.u32(at: 4))
        flags = payload.u32(at: 8)
        name = ""
        for attribute in NetlinkAttributes(payload.dropFirst(LinkRequest.structBytes)) {
            switch Int(attribute.type) {
            case Int(IFLA_IFNAME): name = attribute.text
            case Int(IFLA_ADDRESS): mac = MACAddress(attribute.payload)
            case Int(IFLA_PERM_ADDRESS): permanentMAC = MACAddress(attribute.payload)
            case Int(IFLA_MTU): mtu = attribute.u32 ?? 0
            case Int(IFLA_MIN_MTU): smallestMTU = attribute.u32 ?? 0
            case Int(IFLA_MAX_MTU): largestMTU = attribute.u32 ?? 0
            case Int(IFLA_CARRIER): hasCarrier = attribute.u8 == 1
            case Int(IFLA_PROMISCUITY): promiscuity = attribute.u32 ?? 0
            case Int(IFLA_MASTER): master = attribute.u32.flatMap { $0 == 0 ? nil : Int32(bitPattern: $0) }
            case Int(IFLA_TXQLEN): transmitQueueLength = attribute.u32 ?? 0
            case Int(IFLA_IFALIAS): alias = attribute.text
            case Int(IFLA_PARENT_DEV_NAME): parentDevice = attribute.text
            case Int(IFLA_LINKINFO): kind = attribute.nested.first(Int(IFLA_INFO_KIND))?.text ?? ""
            default: break
            }
        }
    }
}

/// What to change of an interface; nil leaves a setting as it is.
public struct LinkChange: Sendable {
    public var name: String?
    public var isUp: Bool?
    public var isPromiscuous: Bool?
    public var receivesAllMulticast: Bool?
    /// False: no address resolution, so the kernel sends none of its own (IFF_NOARP).
    public var usesARP: Bool?
    public var mtu: UInt32?
    public var mac: MACAddress?
    /// The bridge to join; 0: leave the one it is in.
    public var master: Int32?
    public var transmitQueueLength: UInt32?
    /// A note for people and programs, of up to 255 bytes.
    public var alias: String?

    public init() {}
}

/// The struct in front of the attributes of link messages (struct ifinfomsg).
enum LinkRequest {
    static let structBytes = 16

    /// A request about one link.
    static func make(
        _ name: StaticString, type: Int, flags: Int32 = 0, _ answer: NetlinkRequest.Answer = .acknowledgement, index: Int32 = 0,
        on: UInt32 = 0, mask: UInt32 = 0
    ) -> NetlinkRequest {
        var request = NetlinkRequest(name, type: type, flags: flags, answer)
        request.put32(0)  // AF_UNSPEC, padding, ARPHRD type
        request.put32(UInt32(bitPattern: index))
        request.put32(on & mask)
        request.put32(mask)
        return request
    }
}
