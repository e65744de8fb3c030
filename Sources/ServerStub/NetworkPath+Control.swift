internal import CLinux
internal import Netlink
internal import VirtioNet

extension NetworkPath {
    /// Does what a control command asks; a refusal is an answer like any other.
    mutating func perform(_ command: NetControlCommand) -> NetControlAnswer {
        do throws(NetlinkError) {
            switch command {
            case .describe: return .done(result: try describe().encoded())
            case .statistics(let first): return try page(first)
            case .setPromiscuous(let on):
                var change = LinkChange()
                change.isPromiscuous = on || needsPromiscuity
                try links.change(nicIndex, change)
                wantsPromiscuity = on
            case .setAllMulticast, .addVLAN, .removeVLAN:
                // All of it passes anyway: which of it the host wants, the host's kernel decides.
                break
            case .setMACTable(let unicast, _):
                // Whoever has more than one address is promiscuous: a table would be another thing to restore in the next life.
                if !unicast.isEmpty { return .refused(code: UInt32(EOPNOTSUPP), reason: "no table of addresses: use promiscuous mode") }
            case .setMAC(let value): try setAddress(MACAddress(value: value))
            case .setMTU(let mtu): try setMTU(mtu)
            case .setRing(let receive, let transmit):
                try ethtool.setRings(nicIndex, receive: Self.wanted(receive), transmit: Self.wanted(transmit))
            case .setReceiveCoalescing(let packets, let microseconds):
                try ethtool.setCoalescing(
                    nicIndex, .init(receiveMicroseconds: Self.wanted(microseconds), receivePackets: Self.wanted(packets)))
            case .setTransmitCoalescing(let packets, let microseconds):
                try ethtool.setCoalescing(
                    nicIndex, .init(transmitMicroseconds: Self.wanted(microseconds), transmitPackets: Self.wanted(packets)))
            }
            return .done(result: [])
        } catch {
            return .refused(code: UInt32(error.code), reason: error.reason)
        }
    }

    private static func wanted(_ value: UInt32) -> UInt32? { value == NetControlCommand.leave ? nil : value }

    private mutating func setMTU(_ mtu: UInt32) throws(NetlinkError) {
        try fitChannel(to: mtu)
        var change = LinkChange()
        change.mtu = mtu
        try changeDownIfNeeded(change)
    }

    private mutating func setAddress(_ address: MACAddress) throws(NetlinkError) {
        var change = LinkChange()
        change.mac = address
        try changeDownIfNeeded(change)
    }

    /// Many drivers take a new address, and some a new MTU, only while the interface is down.
    private mutating func changeDownIfNeeded(_ change: LinkChange) throws(NetlinkError) {
        do throws(NetlinkError) {
            try links.change(nicIndex, change)
        } catch {
            guard error.code == EBUSY else { throw error }
            let now = try links.link(nicIndex)
            var before = LinkChange()
            if change.mtu != nil { before.mtu = now.mtu }
            if change.mac != nil { before.mac = now.mac }
            try ChangeWhileDown.perform(change, before: before) { step throws(NetlinkError) in try links.change(nicIndex, step) }
        }
    }

    /// A page of the driver's counters. Page 0 asks the driver; the others show the rest of what it said then.
    private mutating func page(_ first: UInt32) throws(NetlinkError) -> NetControlAnswer {
        if first == 0 { try readCounters() }
        guard let page = counters?.page(first) else { return .refused(code: UInt32(EINVAL), reason: "no counter has that number") }
        return .done(result: page)
    }

    /// Their names only the first time, and when there are not as many any more.
    private mutating func readCounters() throws(NetlinkError) {
        if let known = counters, known.count > 0 {
            let values = try ethtool.counterValues(nic, count: known.count)
            if values.count == known.count {
                counters?.set(values)
                return
            }
        }
        let names = try ethtool.counterNames(nic)
        var table = NetStatisticsTable(names: names)
        table.set(try ethtool.counterValues(nic, count: names.count))
        counters = table
    }
}
