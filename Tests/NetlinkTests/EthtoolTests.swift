import CLinux
import Netlink
import Testing

/// Against veth and bridge, whose drivers have a part of what ethtool knows.
@Suite struct EthtoolTests {
    @Test func aDriverSaysWhoItIs() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            let ethtool = try EthtoolSocket()
            #expect(try ethtool.driverInformation("left")?.driver == "veth")
            #expect(try ethtool.permanentAddress("left") == nil)
            #expect(throws: NetlinkError(code: ENODEV, request: "")) { try Self.ask("nobody") }
        }
    }

    private static func ask(_ name: String) throws(NetlinkError) { _ = try EthtoolSocket().driverInformation(name) }

    @Test func whatADriverDoesNotHaveIsNilAndCannotBeSet() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createBridge("br0")
            let index = try links.link(named: "br0").index
            var ethtool = try EthtoolSocket()
            #expect(try ethtool.rings(index) == nil)
            #expect(try ethtool.coalescing(index) == nil)
            #expect(try ethtool.counterNames("br0").isEmpty)
            #expect(try ethtool.counterValues("br0", count: 5).isEmpty)
            #expect(try ethtool.linkMode(index).isFullDuplex == nil)
            do throws(NetlinkError) {
                try ethtool.setRings(index, receive: 256, transmit: nil)
                Issue.record("a bridge has no rings")
            } catch { #expect(error.code == EOPNOTSUPP) }
            do throws(NetlinkError) {
                try ethtool.setCoalescing(index, .init(receiveMicroseconds: 10))
                Issue.record("a bridge has no interrupts")
            } catch { #expect(error.code == EOPNOTSUPP) }
        }
    }

    @Test func aLinkWithAModeSaysItsSpeed() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            var ethtool = try EthtoolSocket()
            let mode = try ethtool.linkMode(try links.link(named: "left").index)
            #expect(mode.speed == 10000 && mode.isFullDuplex == true)
        }
    }

    @Test func countersHaveNamesAndAsManyValues() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            let ethtool = try EthtoolSocket()
            let names = try ethtool.counterNames("left")
            let values = try ethtool.counterValues("left", count: names.count)
            #expect(names.first == "peer_ifindex" && names.count == values.count && !values.isEmpty)
            #expect(values.first == UInt64(try links.link(named: "right").index))
        }
    }

    @Test func offloadsCanBeSwitchedAndReadBack() throws {
        let lab = try PrivateNamespace()
        try lab.inside { () throws(NetlinkError) in
            var links = try LinkSocket()
            try links.createPair("left", "right")
            let index = try links.link(named: "left").index
            var ethtool = try EthtoolSocket()
            func feature(_ name: String) throws(NetlinkError) -> EthtoolSocket.Feature? {
                try ethtool.features(index).first { $0.name == name }
            }
            #expect(try feature("rx-gro") == .init(name: "rx-gro", isActive: false, isChangeable: true))
            #expect(try feature("tx-checksum-ip-generic")?.isActive == true)
            #expect(try feature("rx-lro")?.isChangeable == false)
            try ethtool.setFeatures(index, [("rx-gro", true), ("tx-checksum-ip-generic", false)])
            #expect(try feature("rx-gro")?.isActive == true)
            #expect(try feature("tx-checksum-ip-generic")?.isActive == false)
        }
    }
}
