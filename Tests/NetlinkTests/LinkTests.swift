import CLinux
import Netlink
import Testing

@Suite struct LinkTests {
    @Test func aNewNamespaceHasOnlyALoopback() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            let all = try links.links()
            #expect(all.map(\.name) == ["lo"] && all.first?.isUp == false)
        }
    }

    @Test func everySettingOfALinkCanBeReadBack() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            try links.createBridge("br0")
            let left = try links.link(named: "left")
            let bridge = try links.link(named: "br0")
            #expect(left.kind == "veth" && bridge.kind == "bridge" && !left.isUp && left.mtu == 1500)
            var change = LinkChange()
            change.isUp = true
            change.isPromiscuous = true
            change.receivesAllMulticast = true
            change.usesARP = false
            change.mtu = 9000
            change.mac = MACAddress(text: "52:54:00:12:34:56")
            change.master = bridge.index
            change.transmitQueueLength = 333
            change.alias = "a test's"
            try links.change(left.index, change)
            var now = try links.link(left.index)
            #expect(now.isUp && now.isPromiscuous && now.receivesAllMulticast && now.promiscuity >= 1)
            #expect(now.mtu == 9000 && now.mac == change.mac && now.master == bridge.index && now.transmitQueueLength == 333)
            #expect(now.alias == "a test's" && left.alias.isEmpty)
            #expect(now.flags & UInt32(IFF_NOARP) != 0)
            change = LinkChange()
            change.master = 0
            change.isPromiscuous = false
            change.name = "renamed"
            try links.change(left.index, change)
            now = try links.link(left.index)
            #expect(now.master == nil && !now.isPromiscuous && now.name == "renamed" && now.isUp && now.mtu == 9000)
            try links.delete(left.index)
            #expect(try links.links().map(\.name).sorted() == ["br0", "lo"])
        }
    }

    @Test func refusalsSayWhyInTheKernelsWords() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            let left = try links.link(named: "left")
            func failure(_ body: (inout LinkSocket) throws(NetlinkError) -> Void) -> NetlinkError? {
                do throws(NetlinkError) {
                    try body(&links)
                    return nil
                } catch { return error }
            }
            var tooLarge = LinkChange()
            tooLarge.mtu = 100_000
            let refusal = failure { links throws(NetlinkError) in try links.change(left.index, tooLarge) }
            #expect(refusal?.code == EINVAL && refusal?.description == "set link: mtu greater than device maximum")
            #expect(failure { links throws(NetlinkError) in _ = try links.link(named: "nobody") }?.code == ENODEV)
            #expect(failure { links throws(NetlinkError) in _ = try links.link(named: "a name that is too long") }?.code == ENODEV)
            #expect(failure { links throws(NetlinkError) in _ = try links.link(99) }?.code == ENODEV)
            #expect(failure { links throws(NetlinkError) in try links.createBridge("left") }?.code == EEXIST)
            #expect(failure { links throws(NetlinkError) in try links.createBridge("a/b") }?.code == EINVAL)
            let loopback = failure { links throws(NetlinkError) in try links.delete(1) }
            #expect(loopback?.code == EOPNOTSUPP)
            #expect(loopback?.reason == "Operation not supported")
        }
    }

    @Test func aLinkMovesIntoAnotherNamespace() throws {
        let here = try PrivateNamespace()
        let there = try PrivateNamespace()
        try here.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            try links.move(try links.link(named: "right").index, to: there.namespace, name: "wire0")
            #expect(try links.links().map(\.name).sorted() == ["left", "lo"])
        }
        // The socket stays where it was made, wherever its user is.
        var links = try there.inside { () throws(NetlinkError) in try LinkSocket() }
        #expect(try links.link(named: "wire0").kind == "veth")
        var monitor = try there.inside { () throws(NetlinkError) in try LinkMonitor() }
        try links.addAddress(try links.link(named: "wire0").index, [10, 0, 0, 1], prefix: 24)
        try links.addAddress(try links.link(named: "wire0").index, [0xFD] + [UInt8](repeating: 0, count: 14) + [1], prefix: 64)
        _ = try monitor.take { _ in }
    }

    @Test func newsOfLinksComesAsItHappens() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            var monitor = try LinkMonitor()
            try links.createPair("left", "right")
            let (left, right) = (try links.link(named: "left"), try links.link(named: "right"))
            var up = LinkChange()
            up.isUp = true
            var news: [LinkMonitor.News] = []
            func wait(_ what: Comment, until isIt: (LinkMonitor.News) -> Bool) throws(NetlinkError) {
                for _ in 0..<50 {
                    #expect(isReadable(monitor.rawDescriptor), what)
                    #expect(try monitor.take { news.append($0) })
                    if news.contains(where: isIt) { return }
                }
                Issue.record("\(what) was not reported")
            }
            try links.change(left.index, up)
            try links.change(right.index, up)
            try wait("the carrier") { if case .changed(let link) = $0 { link.index == left.index && link.hasCarrier } else { false } }
            news = []
            try links.change(
                right.index,
                {
                    var down = LinkChange(); down.isUp = false; return down
                }())
            try wait("its loss") { if case .changed(let link) = $0 { link.index == left.index && !link.hasCarrier } else { false } }
            try links.delete(left.index)
            try wait("the end") { $0 == .removed(index: left.index) }
            #expect(try monitor.take { _ in })
        }
    }

    @Test func addressesAreReadAsPeopleWriteThem() {
        #expect(MACAddress(text: "52:54:00:aB:cD:0f")?.description == "52:54:00:ab:cd:0f")
        #expect(MACAddress(text: "52:54:00:aB:cD:0f")?.octets == [0x52, 0x54, 0, 0xAB, 0xCD, 0x0F])
        for wrong in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:5g", "525:4:00:12:34:56", "52-54-00-12-34-56"] {
            #expect(MACAddress(text: wrong) == nil, "\(wrong)")
        }
        #expect(MACAddress([1, 2, 3]) == nil)
        #expect(MACAddress(text: "01:00:5e:00:00:01")?.isUnicast == false && MACAddress(value: 0).isUnicast == false)
        #expect(MACAddress(value: 0x5254_0000_0001).isUnicast)
    }
}
