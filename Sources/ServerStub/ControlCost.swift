internal import LinuxSystem
internal import Netlink

/// What the operations of the slow path cost a program that is started for each of them, as people and scripts do it with ip(8) and
/// ethtool(8): the native side of `drover-bench`'s comparison.
///
/// Each time anew, as such a program has to: its own sockets, the ethtool family's number, the interface by its name, the names of the
/// counters. Nothing is kept from one time to the next, and nothing of the server's path is used. Left out is what such a program costs
/// beside: being started, and printing.
///
/// A line for each operation: its name, and in nanoseconds the median of it alone, and of it and the description that a client stub's
/// change ends with, with the sockets that are open already.
enum ControlCost {
    private static let operations = ["describe", "statistics", "ring", "coalescing", "mtu", "promiscuous"]
    /// After what resets the NIC: what it set going has come to an end when the next one begins. The others follow each other at once.
    private static let pause: UInt64 = 20_000_000

    /// Does each operation `times` times to the NIC of that name. The exit status.
    static func run(nic: String, times: Int) -> Int32 {
        // The process ends with this.
        let output = OwnedDescriptor(adopting: 1)
        var log = StubLog(output: OwnedDescriptor(adopting: 2), sinceBoot: false)
        do throws(NetlinkError) {
            // With the offloads of a DD/OS. No packets are forwarded here.
            var path = try NetworkPath(nic: nic, channel: "lo")
            path.chooseOffloads(log: &log)
            for (number, name) in operations.enumerated() {
                var alone: [UInt64] = []
                var whole: [UInt64] = []
                for turn in 0..<times {
                    let start = Clock.monotonic()
                    let changed = try perform(number, nic, path.nicIndex, isEven: turn % 2 == 0)
                    let end = Clock.monotonic()
                    alone.append((changed ?? end) &- start)
                    whole.append(end &- start)
                    if name.isSame(as: "ring") || name.isSame(as: "mtu") { Clock.sleep(nanoseconds: pause) }
                }
                alone.sort()
                whole.sort()
                let figures = decimal(Int(alone[times / 2])) + " " + decimal(Int(whole[times / 2]))
                let line = Array(("control " + name + " " + figures + "\n").utf8)
                do throws(SystemError) { try output.writeAll(line) } catch { return 1 }
            }
            return 0
        } catch {
            log.line(nic + ": " + error.description)
            return 1
        }
    }

    /// One operation, from its sockets to the last answer. An even turn changes something, an odd one leaves the MTU at 1500.
    /// - Returns: when the change was made; nil: it is none.
    private static func perform(_ operation: Int, _ nic: String, _ index: Int32, isEven: Bool) throws(NetlinkError) -> UInt64? {
        switch operation {
        case 0:
            var links = try LinkSocket()
            var ethtool = try EthtoolSocket()
            try describe(nic, &links, &ethtool)
            return nil
        case 1:
            let ethtool = try EthtoolSocket()
            let names = try ethtool.counterNames(nic)
            _ = try ethtool.counterValues(nic, count: names.count)
            return nil
        case 2, 3:
            // ethtool sends the name instead of a number: no look-up.
            var ethtool = try EthtoolSocket()
            if operation == 2 {
                try ethtool.setRings(index, receive: isEven ? 512 : 256, transmit: nil)
            } else {
                try ethtool.setCoalescing(index, .init(receiveMicroseconds: isEven ? 50 : 60))
            }
            let changed = Clock.monotonic()
            var links = try LinkSocket()
            try describe(nic, &links, &ethtool)
            return changed
        default:
            var links = try LinkSocket()
            var change = LinkChange()
            if operation == 4 { change.mtu = isEven ? 1400 : 1500 } else { change.isPromiscuous = isEven }
            try links.change(try links.link(named: nic).index, change)
            let changed = Clock.monotonic()
            var ethtool = try EthtoolSocket()
            try describe(nic, &links, &ethtool)
            return changed
        }
    }

    /// What `ip link show`, and ethtool without an option and with `-i`, `-g` and `-c`, ask for.
    private static func describe(_ nic: String, _ links: inout LinkSocket, _ ethtool: inout EthtoolSocket) throws(NetlinkError) {
        let link = try links.link(named: nic)
        _ = try ethtool.linkMode(link.index)
        _ = try ethtool.driverInformation(nic)
        _ = try ethtool.rings(link.index)
        _ = try ethtool.coalescing(link.index)
    }
}
