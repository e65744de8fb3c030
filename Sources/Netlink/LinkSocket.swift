internal import CLinux
internal import LinuxSystem

/// Network interfaces over rtnetlink (rtnetlink(7)): reading them and changing them.
///
/// All of it concerns the network namespace in which the socket was made.
public struct LinkSocket: ~Copyable {
    var socket: NetlinkSocket

    /// A socket in the network namespace of the calling thread.
    public init() throws(NetlinkError) {
        socket = try NetlinkSocket(protocol: NETLINK_ROUTE)
    }

    /// A socket in the namespace that a file names, such as "/run/netns/lab" or "/proc/17/ns/net".
    public init(namespace path: String) throws(NetlinkError) {
        self = try NetworkNamespace(path: path).perform { () throws(NetlinkError) in try LinkSocket() }
    }

    // MARK: reading

    /// All interfaces.
    public mutating func links() throws(NetlinkError) -> [Link] {
        var request = LinkRequest.make("list links", type: Int(RTM_GETLINK), .dump)
        request.attribute(Int(IFLA_EXT_MASK), Self.withoutStatistics)
        var found: [Link] = []
        try socket.perform(request) { message in
            if Int(message.type) == Int(RTM_NEWLINK), let link = Link(untrusted: message.payload) { found.append(link) }
        }
        return found
    }

    /// The interface with that number. `ENODEV`: there is none.
    public mutating func link(_ index: Int32) throws(NetlinkError) -> Link {
        try link(LinkRequest.make("look up link", type: Int(RTM_GETLINK), .object, index: index))
    }

    /// The interface with that name. `ENODEV`: there is none.
    public mutating func link(named name: String) throws(NetlinkError) -> Link {
        guard Self.isName(name) else { throw NetlinkError(code: ENODEV, request: "look up link") }
        var request = LinkRequest.make("look up link", type: Int(RTM_GETLINK), .object)
        request.attribute(Int(IFLA_IFNAME), name)
        return try link(request)
    }

    private mutating func link(_ request: NetlinkRequest) throws(NetlinkError) -> Link {
        var request = request
        request.attribute(Int(IFLA_EXT_MASK), Self.withoutStatistics)
        var found: Link?
        try socket.perform(request) { message in
            if Int(message.type) == Int(RTM_NEWLINK) { found = Link(untrusted: message.payload) }
        }
        guard let found else { throw NetlinkError(code: EBADMSG, request: "look up link") }
        return found
    }

    /// RTEXT_FILTER_SKIP_STATS: counters nobody here reads would be most of an answer.
    private static let withoutStatistics: UInt32 = 1 << 3

    /// Whether the kernel would take it as a name: 1 to 15 bytes, no slash, colon or blank, not "." or "..".
    public static func isName(_ text: String) -> Bool {
        let bytes = text.utf8
        guard (1...15).contains(bytes.count), !text.utf8.elementsEqual(".".utf8), !text.utf8.elementsEqual("..".utf8) else { return false }
        return bytes.allSatisfy { $0 > 32 && $0 != 127 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") && $0 != 0xA0 }
    }

    // MARK: changing

    /// Changes an interface. The kernel takes the changes in an order of its own and stops at the first that it refuses: what must
    /// hold together is better asked for one at a time.
    public mutating func change(_ index: Int32, _ change: LinkChange) throws(NetlinkError) {
        var on: UInt32 = 0
        var mask: UInt32 = 0
        func flag(_ bit: UInt32, _ wanted: Bool?) {
            guard let wanted else { return }
            mask |= bit
            if wanted { on |= bit }
        }
        flag(UInt32(IFF_UP), change.isUp)
        flag(UInt32(IFF_PROMISC), change.isPromiscuous)
        flag(UInt32(IFF_ALLMULTI), change.receivesAllMulticast)
        flag(UInt32(IFF_NOARP), change.usesARP.map { !$0 })
        var request = LinkRequest.make("set link", type: Int(RTM_NEWLINK), index: index, on: on, mask: mask)
        if let name = change.name { request.attribute(Int(IFLA_IFNAME), name) }
        if let mtu = change.mtu { request.attribute(Int(IFLA_MTU), mtu) }
        if let mac = change.mac { request.attribute(Int(IFLA_ADDRESS), mac.octets) }
        if let master = change.master { request.attribute(Int(IFLA_MASTER), UInt32(bitPattern: master)) }
        if let length = change.transmitQueueLength { request.attribute(Int(IFLA_TXQLEN), length) }
        if let alias = change.alias { request.attribute(Int(IFLA_IFALIAS), Array(alias.utf8)) }
        try socket.perform(request)
    }

    /// Moves an interface into another network namespace; its number there may be another, its name is `name` (nil: as it was).
    /// What it had of addresses and routes is gone then.
    public mutating func move(
        _ index: Int32, to namespace: borrowing NetworkNamespace, name: String? = nil
    ) throws(NetlinkError) {
        var request = LinkRequest.make("move link", type: Int(RTM_NEWLINK), index: index)
        request.attribute(Int(IFLA_NET_NS_FD), UInt32(bitPattern: namespace.rawDescriptor))
        if let name { request.attribute(Int(IFLA_IFNAME), name) }
        try socket.perform(request)
    }

    /// Removes an interface. `EOPNOTSUPP`: it is a device's.
    public mutating func delete(_ index: Int32) throws(NetlinkError) {
        try socket.perform(LinkRequest.make("remove link", type: Int(RTM_DELLINK), index: index))
    }

    // MARK: creating

    /// Creates a bridge. `EEXIST`: the name is taken.
    public mutating func createBridge(_ name: String) throws(NetlinkError) {
        try create(name, kind: "bridge") { _ in }
    }

    /// Creates two interfaces, each of which receives what the other sends. `EEXIST`: a name is taken.
    public mutating func createPair(_ name: String, _ peer: String) throws(NetlinkError) {
        try create(name, kind: "veth") { data in
            data.nest(Int(VETH_INFO_PEER)) { end in
                for _ in 0..<4 { end.put32(0) }  // struct ifinfomsg
                end.attribute(Int(IFLA_IFNAME), peer)
            }
        }
    }

    private mutating func create(_ name: String, kind: String, _ data: (inout NetlinkRequest) -> Void) throws(NetlinkError) {
        guard Self.isName(name) else { throw NetlinkError(code: EINVAL, request: "create link") }
        var request = LinkRequest.make("create link", type: Int(RTM_NEWLINK), flags: NLM_F_CREATE | NLM_F_EXCL)
        request.attribute(Int(IFLA_IFNAME), name)
        request.nest(Int(IFLA_LINKINFO)) { information in
            information.attribute(Int(IFLA_INFO_KIND), kind)
            information.nest(Int(IFLA_INFO_DATA)) { data(&$0) }
        }
        try socket.perform(request)
    }

    /// Gives an interface an IPv4 or IPv6 address (4 or 16 bytes, in network order). No duplicate address detection.
    public mutating func addAddress(_ index: Int32, _ address: [UInt8], prefix: UInt8) throws(NetlinkError) {
        guard address.count == 4 || address.count == 16 else { throw NetlinkError(code: EINVAL, request: "add address") }
        var request = NetlinkRequest("add address", type: Int(RTM_NEWADDR), flags: NLM_F_CREATE | NLM_F_EXCL)
        request.put8(UInt8(address.count == 4 ? AF_INET : AF_INET6))
        request.put8(prefix)
        request.put8(UInt8(IFA_F_NODAD))
        request.put8(0)  // RT_SCOPE_UNIVERSE
        request.put32(UInt32(bitPattern: index))
        request.attribute(Int(IFA_LOCAL), address)
        request.attribute(Int(IFA_ADDRESS), address)
        try socket.perform(request)
    }
}
