internal import CLinux
internal import LinuxSystem
public import Netlink
internal import VirtioNet

/// The two interfaces of a network DD/OS, and the way between them: NIC ⇄ redirection in the kernel ⇄ virtio-net ("the channel").
///
/// Packets never come here: this sets the way up, asks the NIC's driver, and changes what it is told to.
public struct NetworkPath: ~Copyable {
    var links: LinkSocket
    var ethtool: EthtoolSocket
    let nic: String
    let nicIndex: Int32
    let channelIndex: Int32
    /// Asked for by the client.
    var wantsPromiscuity = false
    /// A filter for VLAN tags that cannot be switched off lets all pass only when the NIC is promiscuous.
    private(set) var needsPromiscuity = false
    /// The driver's counters when page 0 was asked for: later pages belong to the same moment. Nil: nobody asked yet.
    var counters: NetStatisticsTable?
    /// Nil: nobody asked yet.
    private var lasting: Lasting?

    /// What does not change in a life: asked for once.
    private struct Lasting {
        var driver: EthtoolSocket.DriverInformation?
        /// From the device's ROM, where the kernel does not tell it with the rest.
        var permanentMAC: MACAddress?
        /// The most that the channel takes; 0: it does not say.
        var channelMTU: UInt32
    }

    /// Takes two interfaces, by name, of the network namespace that the calling thread is in. `ENODEV`: there is no such interface.
    public init(nic: String, channel: String) throws(NetlinkError) {
        var links = try LinkSocket()
        let ethtool = try EthtoolSocket()
        let nicIndex = try links.link(named: nic).index
        let channelIndex = try links.link(named: channel).index
        self.nic = nic
        self.nicIndex = nicIndex
        self.channelIndex = channelIndex
        self.links = links
        self.ethtool = ethtool
    }

    /// Makes both forward to each other, silently, and brings them up.
    ///
    /// The order matters: nothing of this kernel may go out on the wire, and no packet from it may reach this kernel.
    public mutating func setUp(log: inout StubLog) throws(NetlinkError) {
        let channelName = try links.link(channelIndex).name
        for (name, index) in [(nic, nicIndex), (channelName, channelIndex)] {
            // No router solicitations, no MLD reports, no link-local address; a kernel without IPv6 has no such file.
            do throws(SystemError) { try SmallFile.write("1", to: "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6") } catch {
                if error.code != ENOENT { log.line(name + ": IPv6 stays on: " + error.description) }
            }
            var silent = LinkChange()
            silent.usesARP = false
            try links.change(index, silent)
        }
        try links.redirect(from: nicIndex, to: channelIndex)
        try links.redirect(from: channelIndex, to: nicIndex)
        chooseOffloads(log: &log)
        var up = LinkChange()
        up.isUp = true
        up.receivesAllMulticast = true
        // What the host sends is for stations on the wire, not for the channel's own address.
        up.isPromiscuous = true
        // The channel first: what the NIC receives has to have somewhere to go.
        try links.change(channelIndex, up)
        up.isPromiscuous = needsPromiscuity
        try links.change(nicIndex, up)
        try fitChannel(to: try links.link(nicIndex).mtu)
        for index in [nicIndex, channelIndex] {
            do throws(NetlinkError) { try links.limitQueue(index, bytes: Self.mostWaiting) } catch {
                log.line("queues keep the kernel's own limit: " + error.description)
            }
        }
    }

    /// Bytes that may wait for an interface. The kernel counts packets instead, a thousand; here they come collected, of 64 KiB each, which
    /// is more than a DD/OS has of memory. This much is 30 ms of a gigabit.
    private static let mostWaiting: UInt32 = 4 << 20

    /// Packets pass unchanged, and in pieces as large as possible. A driver that does not let an offload be switched is left alone.
    mutating func chooseOffloads(log: inout StubLog) {
        // GRO collects packets so that they can be cut again where they came from; what LRO collects cannot.
        switchFeatures(nicIndex, [("rx-gro", true), ("rx-lro", false), ("rx-vlan-filter", false), ("rx-vlan-stag-filter", false)])
        // What comes from the host is collected already: looking at it again would only cost.
        switchFeatures(channelIndex, [("rx-gro", false), ("rx-lro", false)])
        do throws(NetlinkError) {
            for feature in try ethtool.features(nicIndex) where feature.isActive {
                if feature.name.isSame(as: "rx-vlan-filter") {
                    needsPromiscuity = true
                    log.line(nic + ": its VLAN filter cannot be switched off, so it is promiscuous")
                } else if feature.name.isSame(as: "rx-lro") {
                    log.line(nic + ": LRO cannot be switched off: received packets may be merged")
                }
            }
        } catch { log.line(nic + ": " + error.description) }
    }

    private mutating func switchFeatures(_ index: Int32, _ wanted: [(name: String, isOn: Bool)]) {
        do throws(NetlinkError) {
            let known = try ethtool.features(index)
            let changes = wanted.filter { want in
                known.contains { $0.name.isSame(as: want.name) && $0.isChangeable && $0.isActive != want.isOn }
            }
            if !changes.isEmpty { try ethtool.setFeatures(index, changes) }
        } catch {}  // What counts is what is active afterwards.
    }

    /// Makes the channel's MTU at least that of the NIC.
    mutating func fitChannel(to mtu: UInt32) throws(NetlinkError) {
        let channel = try links.link(channelIndex)
        guard channel.mtu < mtu else { return }
        var change = LinkChange()
        change.mtu = mtu
        try links.change(channelIndex, change)
    }

    // MARK: what the driver says

    /// The device's configuration space as of now.
    mutating func configuration() throws(NetlinkError) -> VirtioNetConfiguration { try configuration(try links.link(nicIndex)) }

    /// The same, of a NIC of which the kernel says this.
    mutating func configuration(_ link: Link) throws(NetlinkError) -> VirtioNetConfiguration {
        let mode = try ethtool.linkMode(nicIndex)
        return VirtioNetConfiguration(
            mac: link.mac?.value ?? 0, hasLink: link.isUp && link.hasCarrier, mtu: UInt16(clamping: link.mtu),
            speed: mode.speed ?? VirtioNetConfiguration.unknownSpeed,
            duplex: mode.isFullDuplex.map { $0 ? 1 : 0 } ?? VirtioNetConfiguration.unknownDuplex)
    }

    /// Everything; what can change is asked anew.
    mutating func describe() throws(NetlinkError) -> NetDescription {
        var description = NetDescription()
        let link = try links.link(nicIndex)
        description.mac = link.mac?.value ?? 0
        let lasting = try known(link)
        let permanent = link.permanentMAC.flatMap { $0.isUnicast ? $0 : nil } ?? lasting.permanentMAC
        description.permanentMAC = permanent?.value ?? 0
        description.interface = link.name
        description.mtu = min(link.mtu, 65535)
        description.smallestMTU = min(max(link.smallestMTU, 68), description.mtu)
        description.largestMTU = max(Self.largestMTU(link, lasting), description.mtu)
        if link.isUp && link.hasCarrier { description.flags.insert(.carrier) }
        if wantsPromiscuity { description.flags.insert(.promiscuous) }
        if link.receivesAllMulticast { description.flags.insert(.allMulticast) }
        try addMode(to: &description)
        if let driver = lasting.driver {
            description.driver = driver.driver
            description.driverVersion = driver.version
            // "N/A" is what drivers say that have nothing to say.
            description.firmwareVersion = driver.firmware.isSame(as: "N/A") ? "" : driver.firmware
            description.busAddress = driver.bus
        }
        return description
    }

    private mutating func addMode(to description: inout NetDescription) throws(NetlinkError) {
        let mode = try ethtool.linkMode(nicIndex)
        if let speed = mode.speed {
            description.speed = speed
            description.flags.insert(.knowsSpeed)
        }
        if let isFullDuplex = mode.isFullDuplex {
            description.flags.insert(.knowsDuplex)
            if isFullDuplex { description.flags.insert(.fullDuplex) }
        }
        if let rings = try ethtool.rings(nicIndex) {
            (description.receiveRing, description.receiveRingMost) = (rings.receive, rings.receiveMost)
            (description.transmitRing, description.transmitRingMost) = (rings.transmit, rings.transmitMost)
            description.flags.insert(.hasRing)
        }
        guard let coalescing = try ethtool.coalescing(nicIndex) else { return }
        func take(_ value: UInt32?, _ flag: NetDescription.Flags) -> UInt32 {
            if value != nil { description.flags.insert(flag) }
            return value ?? 0
        }
        description.receiveMicroseconds = take(coalescing.receiveMicroseconds, .hasReceiveMicroseconds)
        description.receivePackets = take(coalescing.receivePackets, .hasReceivePackets)
        description.transmitMicroseconds = take(coalescing.transmitMicroseconds, .hasTransmitMicroseconds)
        description.transmitPackets = take(coalescing.transmitPackets, .hasTransmitPackets)
    }

    private mutating func known(_ link: Link) throws(NetlinkError) -> Lasting {
        if let lasting { return lasting }
        let new = Lasting(
            driver: try ethtool.driverInformation(link.name), permanentMAC: try ethtool.permanentAddress(link.name),
            channelMTU: try links.link(channelIndex).largestMTU)
        lasting = new
        return new
    }

    /// What both the driver and the channel take; 0 of a driver means that it does not say.
    private static func largestMTU(_ link: Link, _ lasting: Lasting) -> UInt32 {
        var largest: UInt32 = 65535
        for most in [link.largestMTU, lasting.channelMTU] where most != 0 { largest = min(largest, most) }
        return largest
    }
}
