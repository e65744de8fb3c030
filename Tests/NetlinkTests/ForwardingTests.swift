import CLinux
import LinuxSystem
import Netlink
import Testing

/// Four interfaces in a namespace of their own.
private struct Lab: ~Copyable {
    let place: PrivateNamespace
    var links: LinkSocket
    let wire: OwnedDescriptor
    let host: OwnedDescriptor

    static func make() throws -> Lab {
        let place = try PrivateNamespace()
        var links = try place.inside { () throws(NetlinkError) in try LinkSocket() }
        try links.createPair("wire0", "nic")
        try links.createPair("host0", "channel")
        var up = LinkChange()
        up.isUp = true
        up.usesARP = false
        up.mtu = 9000
        for name in ["wire0", "nic", "host0", "channel"] { try links.change(try links.link(named: name).index, up) }
        let (wireIndex, hostIndex) = (try links.link(named: "wire0").index, try links.link(named: "host0").index)
        let wire = try place.inside { () throws(NetlinkError) in OwnedDescriptor(adopting: clinux_packet_socket(wireIndex)) }
        let host = try place.inside { () throws(NetlinkError) in OwnedDescriptor(adopting: clinux_packet_socket(hostIndex)) }
        return Lab(place: place, links: links, wire: wire, host: host)
    }
}

/// wire0 ═ nic   ⇄ redirection ⇄   channel ═ host0: what a DD/OS does between its NIC and its virtio-net, with pairs of veth.
@Suite struct ForwardingTests {
    /// The next frame with the test's own EtherType behind it (the interfaces' own IPv6 chatter is not counted).
    private func nextFrame(_ socket: borrowing OwnedDescriptor, milliseconds: Int32 = 5000) throws -> [UInt8] {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 70000, alignment: 8)
        defer { room.deallocate() }
        for _ in 0..<100 {
            guard isReadable(socket.rawValue, milliseconds: milliseconds) else { break }
            let count = try socket.receive(into: room)
            let frame = Array(room.prefix(count))
            if frame.count > 14, frame[6...7] == [2, 0xAB] { return frame }
        }
        throw SystemError(code: ETIME, call: "recv")
    }

    /// A frame from a made-up station; EtherType 88B5 is for experiments.
    private func frame(to: [UInt8], tag: [UInt8] = [], type: [UInt8] = [0x88, 0xB5], bytes: Int) -> [UInt8] {
        to + [2, 0xAB, 0, 0, 0, 9] + tag + type + (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    }

    @Test func framesOfEveryKindPassBothWaysUnchanged() throws {
        var lab = try Lab.make()
        let (nic, channel) = (try lab.links.link(named: "nic").index, try lab.links.link(named: "channel").index)
        try lab.links.redirect(from: nic, to: channel)
        try lab.links.redirect(from: channel, to: nic)
        let kinds: [(what: Comment, frame: [UInt8])] = [
            ("unicast to somebody else", frame(to: [2, 0, 0, 0, 0, 1], bytes: 64)),
            ("broadcast", frame(to: [255, 255, 255, 255, 255, 255], bytes: 46)),
            ("multicast", frame(to: [1, 0, 0x5E, 0, 0, 251], bytes: 46)),
            ("link-local multicast, which bridges keep", frame(to: [1, 0x80, 0xC2, 0, 0, 0], bytes: 46)),
            ("a pause frame's address", frame(to: [1, 0x80, 0xC2, 0, 0, 1], bytes: 46)),
            ("jumbo", frame(to: [2, 0, 0, 0, 0, 1], bytes: 9000)),
            ("IPv6", frame(to: [0x33, 0x33, 0, 0, 0, 1], type: [0x86, 0xDD], bytes: 80)),
        ]
        for (what, sent) in kinds {
            _ = try lab.wire.send(sent)
            #expect(try nextFrame(lab.host) == sent, "from the wire: \(what)")
            _ = try lab.host.send(sent)
            #expect(try nextFrame(lab.wire) == sent, "to the wire: \(what)")
        }
    }

    @Test func aSecondRedirectionReplacesTheFirstAndItsEndStopsTheTraffic() throws {
        var lab = try Lab.make()
        let (nic, channel) = (try lab.links.link(named: "nic").index, try lab.links.link(named: "channel").index)
        try lab.links.redirect(from: nic, to: nic)
        try lab.links.redirect(from: nic, to: channel)
        let sent = frame(to: [2, 0, 0, 0, 0, 1], bytes: 64)
        _ = try lab.wire.send(sent)
        #expect(try nextFrame(lab.host) == sent)
        try lab.links.removeIngress(nic)
        _ = try lab.wire.send(sent)
        let got = try? nextFrame(lab.host, milliseconds: 100)
        #expect(got == nil)
        #expect(throws: NetlinkError.self) { try Self.removeTwice(&lab.links, nic) }
    }

    @Test func aQueueHasTheLimitThatItWasGiven() throws {
        var lab = try Lab.make()
        let nic = try lab.links.link(named: "nic").index
        try lab.links.limitQueue(nic, bytes: 1 << 20)
        try lab.links.limitQueue(nic, bytes: 2 << 20)
        // Nothing but a limit: packets pass as before.
        try lab.links.redirect(from: try lab.links.link(named: "channel").index, to: nic)
        let sent = frame(to: [2, 0, 0, 0, 0, 1], bytes: 64)
        _ = try lab.host.send(sent)
        #expect(try nextFrame(lab.wire) == sent)
    }

    private static func removeTwice(_ links: inout LinkSocket, _ index: Int32) throws(NetlinkError) { try links.removeIngress(index) }
}
