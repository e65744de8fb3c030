import CLinux
import Foundation
import LinuxSystem
import Netlink
import ServerStub
import Testing
import VirtioMessage
import VirtioNet

@Suite struct NetworkServiceTests {
    @Test func theDeviceIsANetworkCardWithoutQueuesAndWithoutAPool() throws {
        let lab = try NetworkFixture()
        let (info, _) = try lab.ask { outbox throws(MessageError) in try outbox.getDeviceInfo(device: 0) }
        guard case .deviceInfo(let found) = info else { throw NetworkFixture.Failure.unexpected(info) }
        #expect(found.deviceID == 1 && found.maximumVirtqueues == 0 && found.configurationSize == 17)
        #expect(lab.hasPool)
        let (queue, _) = try lab.ask { outbox throws(MessageError) in try outbox.getVirtqueue(device: 0, index: 0) }
        #expect(queue == .virtqueue(QueueConfiguration(index: 0, size: 0, descriptors: 0, driver: 0, device: 0)))
        let (window, _) = try lab.ask { outbox throws(MessageError) in try outbox.getDevices(offset: 0, count: 64) }
        #expect(window == .devices(DeviceWindow(offset: 0, count: 64, next: 0, present: 1)))
        #expect(try lab.ask { outbox throws(MessageError) in try outbox.ping(7) }.message == .pong(7))
    }

    @Test func onlyOfferedFeaturesAreAgreedOn() throws {
        let lab = try NetworkFixture()
        let (answer, _) = try lab.ask { outbox throws(MessageError) in try outbox.getDeviceFeatures(device: 0) }
        guard case .deviceFeatures(let blocks) = answer else { throw NetworkFixture.Failure.unexpected(answer) }
        let offered = VirtioNetFeatures(rawValue: blocks.bits)
        #expect(offered.isSuperset(of: [.mac, .mtu, .status, .controlMAC, .version1]) && !offered.contains(.hostTSO4))
        #expect(throws: NetworkFixture.Failure.self) { try lab.start(features: [.version1, .hostTSO4]) }
        #expect(try lab.setStatus([]) == [])
        #expect(throws: NetworkFixture.Failure.self) { try lab.start(features: [.mac]) }
        #expect(try lab.setStatus([]) == [])
        try lab.start()
    }

    @Test func theConfigurationAndTheDescriptionAreTheNICs() throws {
        let lab = try NetworkFixture()
        let nic = try lab.link("nic")
        let (answer, bytes) = try lab.ask { outbox throws(MessageError) in try outbox.getConfig(device: 0, offset: 0, length: 17) }
        guard case .config(_, 0, let data) = answer else { throw NetworkFixture.Failure.unexpected(answer) }
        let space = VirtioNetConfiguration(untrusted: Array(bytes[data.offset..<data.offset + data.count]).span)
        #expect(space?.mac == nic.mac?.value && space?.mtu == 1500 && space?.hasLink == true && space?.speed == 10000)
        let description = try lab.describe()
        #expect(description.mac == nic.mac?.value && description.interface == "nic" && description.driver == "veth")
        #expect(description.mtu == 1500 && description.smallestMTU == 68 && description.largestMTU == 65535)
        #expect(description.flags.isSuperset(of: [.carrier, .knowsSpeed, .allMulticast]) && !description.flags.contains(.promiscuous))
        #expect(!description.flags.contains(.hasReceiveMicroseconds))
    }

    @Test func settingsReachTheNICAndTheChannelFollows() throws {
        let lab = try NetworkFixture()
        let done = NetControlAnswer.done(result: [])
        #expect(try lab.control(.setMTU(4000)) == done)
        #expect(try lab.link("nic").mtu == 4000 && lab.link("channel").mtu == 4000)
        #expect(try lab.control(.setMTU(1000)) == done)
        // What the host sends may be on its way at the old size.
        #expect(try lab.link("nic").mtu == 1000 && lab.link("channel").mtu == 4000)
        #expect(try lab.control(.setMAC(0x5254_0012_3456)) == done)
        #expect(try lab.link("nic").mac == MACAddress(value: 0x5254_0012_3456))
        #expect(try lab.control(.setPromiscuous(true)) == done)
        #expect(try lab.link("nic").isPromiscuous && lab.describe().flags.contains(.promiscuous))
        #expect(try lab.control(.setPromiscuous(false)) == done)
        #expect(try !lab.link("nic").isPromiscuous && !lab.describe().flags.contains(.promiscuous))
        #expect(try lab.control(.addVLAN(5)) == done)
        #expect(try lab.control(.setAllMulticast(false)) == done)
        #expect(try lab.link("nic").receivesAllMulticast)
    }

    @Test func refusalsCarryTheDriversWords() throws {
        let lab = try NetworkFixture()
        func refusal(_ command: NetControlCommand, device: UInt16 = 0) throws -> (UInt32, String)? {
            guard case .refused(let code, let reason) = try lab.control(command, device: device) else { return nil }
            return (code, reason)
        }
        let tooSmall = try refusal(.setMTU(20))
        #expect(tooSmall?.0 == UInt32(EINVAL) && tooSmall?.1 == "mtu less than device minimum")
        #expect(try refusal(.setMTU(1_000_000))?.0 == UInt32(EINVAL))
        #expect(try lab.link("nic").mtu == 1500)
        #expect(try refusal(.setMAC(0x0100_5E00_0001))?.0 == UInt32(EADDRNOTAVAIL))
        #expect(try refusal(.setReceiveCoalescing(packets: 1, microseconds: 1))?.0 == UInt32(EOPNOTSUPP))
        #expect(try refusal(.describe, device: 1)?.0 == UInt32(ENODEV))
        #expect(try refusal(.statistics(first: 100_000))?.0 == UInt32(EINVAL))
    }

    @Test func statisticsAreTheDriversOwn() throws {
        let lab = try NetworkFixture()
        guard case .done(let result) = try lab.control(.statistics(first: 0)) else { throw NetworkFixture.Failure.noAnswer("statistics") }
        let page = try NetStatisticsPage(untrusted: result.span)
        #expect(page.first == 0 && page.counters.first?.name == "peer_ifindex")
        #expect(page.counters.first?.value == UInt64(try lab.link("wire0").index))
        #expect(Int(page.total) == page.counters.count)
    }

    @Test func statisticsFollowADriverThatGetsMoreCounters() throws {
        let lab = try NetworkFixture()
        func statistics() throws -> NetStatisticsPage {
            guard case .done(let result) = try lab.control(.statistics(first: 0)) else {
                throw NetworkFixture.Failure.noAnswer("statistics")
            }
            return try NetStatisticsPage(untrusted: result.span)
        }
        let before = try statistics()
        // struct ethtool_channels: command (ETHTOOL_SCHANNELS), four maxima, then rx, tx, other, combined. veth counts for each queue.
        var channels: [UInt32] = [0x3d, 0, 0, 0, 0, 2, 1, 0, 0]
        let isMore = try lab.inside { () throws(NetlinkError) in
            let socket = OwnedDescriptor(adopting: clinux_netlink_socket(NETLINK_GENERIC))
            return clinux_ethtool(socket.rawValue, "nic", &channels) == 0
        }
        // A machine with one processor gives it no second queue.
        guard isMore || ProcessInfo.processInfo.processorCount > 1 else { return }
        try #require(isMore)
        let after = try statistics()
        #expect(after.total > before.total)
        #expect(after.counters.first == before.counters.first)
        #expect(Set(after.counters.map(\.name)).count == after.counters.count)
    }

    /// As a client stub sends them.
    @Test func aChangeAndTheQuestionForItsResultCanBeSentTogether() throws {
        let lab = try NetworkFixture()
        var tokens: [UInt16] = []
        for mtu: UInt32 in [2000, 10, 3000] {
            for command in [NetControlCommand.setMTU(mtu), .describe] {
                tokens.append(try lab.outbox.netControl(device: 0, command: command.encoded().span))
            }
        }
        try lab.flush()
        var mtus: [UInt32] = []
        for token in tokens {
            let (header, message, bytes) = try lab.nextAnswer()
            #expect(header.token == token)
            guard case .netControl(0, let place) = message else { throw NetworkFixture.Failure.unexpected(message) }
            let answer = try NetControlAnswer(untrusted: Array(bytes[place.offset..<place.offset + place.count]).span)
            if case .done(let result) = answer, !result.isEmpty { mtus.append(try NetDescription(untrusted: result.span).mtu) }
        }
        #expect(mtus == [2000, 2000, 3000])
    }

    @Test func changesOfTheLinkAreToldAsTheyHappen() throws {
        let lab = try NetworkFixture()
        try lab.start()
        try lab.change("wire0") { $0.isUp = false }
        _ = try lab.waitForConfiguration("the loss of the link") { !$0.hasLink }
        try lab.change("wire0") { $0.isUp = true }
        _ = try lab.waitForConfiguration("the link's return") { $0.hasLink }
        // Not asked for over the connection: whoever changes it, it is news.
        try lab.change("nic") { $0.mtu = 2000 }
        _ = try lab.waitForConfiguration("the MTU") { $0.mtu == 2000 }
        #expect(lab.logs.contains { $0.hasPrefix("link down") })
        #expect(lab.logs.contains { $0.hasPrefix("link up, 10000 Mbit/s, full duplex, MTU") })
    }

    @Test func nothingIsToldBeforeTheDriverIsReady() throws {
        let lab = try NetworkFixture()
        try lab.change("wire0") { $0.isUp = false }
        for _ in 0..<50 where try lab.describe().flags.contains(.carrier) { usleep(20_000) }
        #expect(lab.configurations.isEmpty)
        try lab.start()
        _ = try lab.waitForConfiguration("what happened meanwhile") { !$0.hasLink }
    }

    @Test func aDDOSWithoutANICSaysSo() throws {
        let lab = try NetworkFixture(hasNIC: false)
        let (window, _) = try lab.ask { outbox throws(MessageError) in try outbox.getDevices(offset: 0, count: 8) }
        #expect(window == .devices(DeviceWindow(offset: 0, count: 8, next: 0, present: 0)))
        let (info, _) = try lab.ask { outbox throws(MessageError) in try outbox.getDeviceInfo(device: 0) }
        #expect(info == .deviceInfo(DeviceInfo()))
        guard case .refused(let code, _) = try lab.control(.describe) else { throw NetworkFixture.Failure.noAnswer("a refusal") }
        #expect(code == UInt32(ENODEV))
    }

    @Test func aNICThatGoesAwayEndsTheService() throws {
        let lab = try NetworkFixture()
        _ = try lab.describe()
        try lab.links.delete(try lab.link("nic").index)
        #expect(lab.end() == .success(.failed(ENODEV)))
    }

    @Test func faultsAreBroughtAboutByTheCaller() throws {
        for fault in InjectedFault.allCases {
            let lab = try NetworkFixture()
            try lab.outbox.inject(fault)
            try lab.flush()
            #expect(lab.end() == .success(.injected(fault)))
        }
    }

    @Test func aClientThatGoesEndsTheService() throws {
        let lab = try NetworkFixture()
        lab.client.shutdown()
        #expect(lab.end() == .success(.closed))
    }
}
