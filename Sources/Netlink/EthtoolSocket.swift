internal import CLinux

/// What a driver says of its device and lets be changed (ethtool(8)): over generic netlink, and with the old ioctl where netlink has no
/// message. All of it concerns the network namespace in which the socket was made.
///
/// Old drivers have next to none of this. Reading what a driver does not have gives nil; setting it throws `EOPNOTSUPP`.
public struct EthtoolSocket: ~Copyable {
    var socket: NetlinkSocket
    /// The number of the ethtool family; nil: a kernel without CONFIG_ETHTOOL_NETLINK.
    private let family: UInt16?

    /// A socket in the network namespace of the calling thread.
    public init() throws(NetlinkError) {
        var socket = try NetlinkSocket(protocol: NETLINK_GENERIC)
        var request = NetlinkRequest("look up ethtool", type: Int(GENL_ID_CTRL), .object)
        request.put32(UInt32(CTRL_CMD_GETFAMILY) | 1 << 8)  // struct genlmsghdr: command, version
        request.attribute(Int(CTRL_ATTR_FAMILY_NAME), "ethtool")
        var found: UInt16?
        do throws(NetlinkError) {
            try socket.perform(request) { message in
                found = NetlinkAttributes(message.payload.dropFirst(4)).first(Int(CTRL_ATTR_FAMILY_ID))?.u16
            }
        } catch {
            if error.code != ENOENT { throw error }
        }
        family = found
        self.socket = socket
    }

    /// A socket in the namespace that a file names, such as "/run/netns/lab".
    public init(namespace path: String) throws(NetlinkError) {
        self = try NetworkNamespace(path: path).perform { () throws(NetlinkError) in try EthtoolSocket() }
    }

    // MARK: requests

    /// A request about one interface: command, and the header attribute (number 1 in each command).
    func request(
        _ name: StaticString, _ command: Int, _ index: Int32, _ answer: NetlinkRequest.Answer = .acknowledgement
    ) throws(NetlinkError) -> NetlinkRequest {
        guard let family else { throw NetlinkError(code: EOPNOTSUPP, request: name) }
        var request = NetlinkRequest(name, type: Int(family), answer)
        request.put32(UInt32(command) | UInt32(ETHTOOL_GENL_VERSION) << 8)
        request.nest(1) { header in
            header.attribute(Int(ETHTOOL_A_HEADER_DEV_INDEX), UInt32(bitPattern: index))
        }
        return request
    }

    /// Asks, and gives the attributes of the answer; nil: the driver, or the kernel, has no such thing.
    mutating func ask(_ name: StaticString, _ command: Int, _ index: Int32) throws(NetlinkError) -> NetlinkAttributes? {
        guard family != nil else { return nil }
        var answer: NetlinkAttributes?
        do throws(NetlinkError) {
            try socket.perform(try request(name, command, index, .object)) { message in
                if answer == nil { answer = NetlinkAttributes(message.payload.dropFirst(4)) }
            }
        } catch {
            if error.code == EOPNOTSUPP { return nil }
            throw error
        }
        return answer
    }

    // MARK: the wire

    /// Speed in Mbit/s and duplex, each nil where the driver does not know.
    public mutating func linkMode(_ index: Int32) throws(NetlinkError) -> (speed: UInt32?, isFullDuplex: Bool?) {
        guard let answer = try ask("read link mode", Int(ETHTOOL_MSG_LINKMODES_GET), index) else { return (nil, nil) }
        let speed = answer.first(Int(ETHTOOL_A_LINKMODES_SPEED))?.u32
        let duplex = answer.first(Int(ETHTOOL_A_LINKMODES_DUPLEX))?.u8
        // SPEED_UNKNOWN is −1; some drivers say 0, or 65535 in the days of 16 bits.
        let isKnown = speed.map { $0 != 0 && $0 != UInt32.max && $0 != 65535 } ?? false
        return (isKnown ? speed : nil, duplex == 0 ? false : duplex == 1 ? true : nil)
    }

    // MARK: rings

    /// Descriptors in a NIC's rings, and the most that it takes.
    public struct Rings: Equatable, Sendable {
        public var receive: UInt32
        public var receiveMost: UInt32
        public var transmit: UInt32
        public var transmitMost: UInt32

        public init(receive: UInt32, receiveMost: UInt32, transmit: UInt32, transmitMost: UInt32) {
            self.receive = receive
            self.receiveMost = receiveMost
            self.transmit = transmit
            self.transmitMost = transmitMost
        }
    }

    /// The rings; nil: the driver has no say in them.
    public mutating func rings(_ index: Int32) throws(NetlinkError) -> Rings? {
        guard let answer = try ask("read rings", Int(ETHTOOL_MSG_RINGS_GET), index) else { return nil }
        func number(_ type: Int) -> UInt32 { answer.first(type)?.u32 ?? 0 }
        let rings = Rings(
            receive: number(Int(ETHTOOL_A_RINGS_RX)), receiveMost: number(Int(ETHTOOL_A_RINGS_RX_MAX)),
            transmit: number(Int(ETHTOOL_A_RINGS_TX)), transmitMost: number(Int(ETHTOOL_A_RINGS_TX_MAX)))
        return rings.receiveMost == 0 && rings.transmitMost == 0 ? nil : rings
    }

    /// Changes the rings; nil leaves one as it is. Drivers round, and may take the link down for a moment.
    public mutating func setRings(_ index: Int32, receive: UInt32?, transmit: UInt32?) throws(NetlinkError) {
        var request = try request("set rings", Int(ETHTOOL_MSG_RINGS_SET), index)
        if let receive { request.attribute(Int(ETHTOOL_A_RINGS_RX), receive) }
        if let transmit { request.attribute(Int(ETHTOOL_A_RINGS_TX), transmit) }
        try socket.perform(request)
    }

    // MARK: coalescing

    /// How long a NIC holds its interrupts back. Nil: the driver has no such setting; when setting: leave it as it is.
    public struct Coalescing: Equatable, Sendable {
        public var receiveMicroseconds: UInt32?
        public var receivePackets: UInt32?
        public var transmitMicroseconds: UInt32?
        public var transmitPackets: UInt32?

        public init(
            receiveMicroseconds: UInt32? = nil, receivePackets: UInt32? = nil, transmitMicroseconds: UInt32? = nil,
            transmitPackets: UInt32? = nil
        ) {
            self.receiveMicroseconds = receiveMicroseconds
            self.receivePackets = receivePackets
            self.transmitMicroseconds = transmitMicroseconds
            self.transmitPackets = transmitPackets
        }
    }

    /// The driver's settings; nil: it has none of these.
    public mutating func coalescing(_ index: Int32) throws(NetlinkError) -> Coalescing? {
        guard let answer = try ask("read coalescing", Int(ETHTOOL_MSG_COALESCE_GET), index) else { return nil }
        func number(_ type: Int) -> UInt32? { answer.first(type)?.u32 }
        let found = Coalescing(
            receiveMicroseconds: number(Int(ETHTOOL_A_COALESCE_RX_USECS)), receivePackets: number(Int(ETHTOOL_A_COALESCE_RX_MAX_FRAMES)),
            transmitMicroseconds: number(Int(ETHTOOL_A_COALESCE_TX_USECS)),
            transmitPackets: number(Int(ETHTOOL_A_COALESCE_TX_MAX_FRAMES)))
        return found == Coalescing() ? nil : found
    }

    /// Changes what is not nil.
    public mutating func setCoalescing(_ index: Int32, _ wanted: Coalescing) throws(NetlinkError) {
        var request = try request("set coalescing", Int(ETHTOOL_MSG_COALESCE_SET), index)
        func put(_ type: Int, _ value: UInt32?) {
            if let value { request.attribute(type, value) }
        }
        put(Int(ETHTOOL_A_COALESCE_RX_USECS), wanted.receiveMicroseconds)
        put(Int(ETHTOOL_A_COALESCE_RX_MAX_FRAMES), wanted.receivePackets)
        put(Int(ETHTOOL_A_COALESCE_TX_USECS), wanted.transmitMicroseconds)
        put(Int(ETHTOOL_A_COALESCE_TX_MAX_FRAMES), wanted.transmitPackets)
        try socket.perform(request)
    }
}
