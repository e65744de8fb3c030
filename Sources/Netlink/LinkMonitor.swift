internal import CLinux
internal import LinuxSystem

/// News of the interfaces of a network namespace, as they happen (RTNLGRP_LINK).
public struct LinkMonitor: ~Copyable {
    private var socket: NetlinkSocket

    /// Something happened to an interface.
    public enum News: Equatable, Sendable {
        /// It is new, or something of it is: its carrier, MTU, address, flags.
        case changed(Link)
        /// It is gone.
        case removed(index: Int32)
    }

    /// Listens from now on, in the network namespace of the calling thread.
    public init() throws(NetlinkError) {
        let made = try NetlinkSocket(protocol: NETLINK_ROUTE)
        try made.join(group: RTNLGRP_LINK.rawValue)
        socket = made
    }

    /// Readable when there is news.
    public var rawDescriptor: Int32 { socket.descriptor.rawValue }

    /// Gives `each` the news that is there, without waiting.
    ///
    /// - Returns: false: there was more than the kernel kept; who needs the state has to read it anew.
    public mutating func take(_ each: (News) -> Void) throws(NetlinkError) -> Bool {
        try socket.takeNotifications { message in
            guard let link = Link(untrusted: message.payload) else { return }
            switch Int(message.type) {
            case Int(RTM_NEWLINK): each(.changed(link))
            case Int(RTM_DELLINK): each(.removed(index: link.index))
            default: break
            }
        }
    }
}
