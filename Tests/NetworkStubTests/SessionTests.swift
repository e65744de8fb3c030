import ClientStub
import StubControl
import Testing
import VirtioMessage
import VirtioNet

@testable import NetworkStub

@Suite struct SessionTests {
    private static let second: UInt64 = 1_000_000_000

    /// Makes the session ready, in its life of this number.
    private func begin(_ client: ClientSide, _ server: FakeNetworkServer, life: UInt64 = 1) throws {
        #expect(client.open(life))
        try client.connect(server, now: Self.second)
        client.queuesRun(now: Self.second)
        try #require(client.state == .ready)
    }

    private func settings(_ change: (inout StubInterfaceSettings) -> Void) -> StubInterfaceSettings {
        var settings = StubInterfaceSettings()
        change(&settings)
        return settings
    }

    @Test func theInterfaceIsReadyWhenItIsDescribedAndItsQueuesRun() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        #expect(client.open(1))
        try client.connect(server, now: 1)
        #expect(client.state == .waiting)
        #expect(!client.carrier)
        client.queuesRun(now: 1)
        #expect(client.state == .ready)
        #expect(client.carrier)
        let interface = try #require(client.interface)
        #expect(client.nextEvent() == .interfaceReady(generation: 1, interface))
        #expect(interface.mac == "52:54:00:00:00:01")
        #expect(interface.ring == StubRing(receive: 256, receiveMost: 4096, transmit: 256, transmitMost: 4096))
    }

    @Test func settingsAreAppliedAgainInEachLife() throws {
        let client = ClientSide()
        let first = FakeNetworkServer()
        try begin(client, first)
        try client.request(.set(settings { ($0.mtu, $0.receiveRing, $0.mac) = (4000, 512, "52:54:00:00:00:99") }), ticket: 5)
        try client.exchange(first, now: Self.second)
        let answer = try #require(client.nextAnswer())
        #expect(answer.ticket == 5)
        #expect(client.interface?.mtu == 4000)
        client.end(SessionEnd(.hangUp, "the VMM is gone"))
        let second = FakeNetworkServer()
        try begin(client, second, life: 2)
        #expect(second.nic.mtu == 4000)
        #expect(second.nic.receiveRing == 512)
        #expect(second.nic.mac == 0x5254_0000_0099)
        #expect(client.interface?.mac == "52:54:00:00:00:99")
    }

    @Test func aChangeThatIsRefusedHalfWayIsUndone() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        try begin(client, server)
        server.refuses = { if case .setMAC = $0 { true } else { false } }
        try client.request(.set(settings { ($0.mtu, $0.mac) = (4000, "52:54:00:00:00:99") }), ticket: 6)
        try client.exchange(server, now: Self.second)
        guard case (6, .refused(let reason))? = client.nextAnswer() else {
            Issue.record("no refusal")
            return
        }
        #expect(reason == "the driver e1000e refused the address 52:54:00:00:00:99: the hardware cannot")
        #expect(server.nic.mtu == 1500)
        #expect(client.interface?.mtu == 1500)
        let (new, old) = (UInt64(0x5254_0000_0099), UInt64(0x5254_0000_0001))
        let expected: [[NetControlCommand]] = [[.setMTU(4000)], [.setMAC(new), .describe], [.setMAC(old)], [.setMTU(1500), .describe]]
        #expect(server.deliveries.suffix(4) == expected[...])
        #expect(client.settings == StubInterfaceSettings())
    }

    @Test func aChangeAndTheQuestionForItsResultAreSentTogether() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        try begin(client, server)
        try client.request(.set(settings { $0.mtu = 4000 }), ticket: 1)
        try client.exchange(server, now: Self.second)
        #expect(server.deliveries.last == [.setMTU(4000), .describe])
        guard case (1, .interface(let interface))? = client.nextAnswer() else {
            Issue.record("no description")
            return
        }
        #expect(interface.mtu == 4000)
        // Refused, there is nothing to undo: the question that went along is the last one.
        server.refuses = { if case .setMTU = $0 { true } else { false } }
        try client.request(.set(settings { $0.mtu = 5000 }), ticket: 2)
        try client.exchange(server, now: Self.second)
        #expect(server.deliveries.last == [.setMTU(5000), .describe])
        guard case (2, .refused)? = client.nextAnswer() else {
            Issue.record("no refusal")
            return
        }
        try client.request(.describe, ticket: 3)
        try client.exchange(server, now: Self.second)
        #expect(client.nextAnswer()?.ticket == 3)
    }

    @Test func newsOfWhatIsKnownAskNothing() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        try begin(client, server)
        let before = server.commands.count
        try server.linkChanged(true)
        try client.exchange(server, now: Self.second)
        #expect(server.commands.count == before)
        server.nic.mtu = 1400
        try server.linkChanged(true)
        try client.exchange(server, now: Self.second)
        #expect(server.commands.count == before + 1)
        #expect(client.interface?.mtu == 1400)
    }

    @Test func whatTheDriverCannotIsSaidWithoutAskingIt() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        try begin(client, server)
        let before = server.commands.count
        for wrong in [
            settings { $0.mtu = 9001 }, settings { $0.mac = "01:00:00:00:00:00" }, settings { $0.mac = "nonsense" },
            settings { $0.receiveRing = 5000 }, settings { $0.coalescing = StubCoalescing(receiveMicroseconds: 5) },
        ] { try client.request(.set(wrong), ticket: 1) }
        var refusals = 0
        while let (_, reply) = client.nextAnswer() { if case .refused = reply { refusals += 1 } }
        #expect(refusals == 5)
        #expect(server.commands.count == before)
    }

    @Test func statisticsComeInPages() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        server.statistics = (0..<250).map { NetStatisticsPage.Counter(name: "counter_\($0)", value: UInt64($0)) }
        try begin(client, server)
        try client.request(.statistics, ticket: 9)
        try client.exchange(server, now: Self.second)
        guard case (9, .statistics(let found))? = client.nextAnswer() else {
            Issue.record("no statistics")
            return
        }
        #expect(found == (0..<250).map { StubStatistic(name: "counter_\($0)", value: UInt64($0)) })
    }

    @Test func theCarrierFollowsTheWireAndThenThePolicy() throws {
        for drops in [false, true] {
            var configuration = NetworkConfiguration()
            configuration.dropsCarrier = drops
            let client = ClientSide(configuration)
            let server = FakeNetworkServer()
            try begin(client, server)
            try server.linkChanged(false)
            try client.exchange(server, now: Self.second)
            #expect(!client.carrier)
            _ = client.nextEvent()
            let interface = try #require(client.interface)
            #expect(client.nextEvent() == .interfaceChanged(interface))
            try server.linkChanged(true)
            try client.exchange(server, now: Self.second)
            #expect(client.carrier)
            client.end(SessionEnd(.hangUp, "the VMM is gone"))
            #expect(client.carrier == !drops)
        }
    }

    /// Ready again, in a life whose NIC has no link yet.
    private func beginAgain(_ client: ClientSide, at now: UInt64) throws -> FakeNetworkServer {
        let server = FakeNetworkServer()
        server.nic.flags.remove(.carrier)
        #expect(client.open(2))
        try client.connect(server, now: now)
        client.queuesRun(now: now)
        try #require(client.state == .ready)
        return server
    }

    @Test func aCarrierThatIsHeldStaysWhileTheNICNegotiates() throws {
        for drops in [false, true] {
            var configuration = NetworkConfiguration()
            configuration.dropsCarrier = drops
            let client = ClientSide(configuration)
            try begin(client, FakeNetworkServer())
            client.end(SessionEnd(.hangUp, "the VMM is gone"))
            let server = try beginAgain(client, at: Self.second * 10)
            #expect(client.carrier == !drops)
            #expect(!client.takesPackets)
            client.queuesRun(now: Self.second * 12)
            #expect(client.carrier == !drops)
            try server.linkChanged(true)
            try client.exchange(server, now: Self.second * 13)
            client.queuesRun(now: Self.second * 13)
            #expect(client.carrier && client.takesPackets)
            // That is the cable, not the driver.
            try server.linkChanged(false)
            try client.exchange(server, now: Self.second * 14)
            #expect(!client.carrier && !client.takesPackets)
        }
    }

    @Test func aNICThatFindsNoLinkIsWithoutCarrierAfterTheGrace() throws {
        let client = ClientSide()
        try begin(client, FakeNetworkServer())
        client.end(SessionEnd(.hangUp, "the VMM is gone"))
        _ = try beginAgain(client, at: Self.second * 10)
        #expect(client.carrier)
        #expect(client.nextDeadline <= Self.second * 15)
        client.queuesRun(now: Self.second * 15)
        #expect(!client.carrier)
        // What was shown last is what is held: nothing.
        client.end(SessionEnd(.hangUp, "the VMM is gone"))
        #expect(!client.carrier)
    }

    @Test func aLifeThatEndsWhileItNegotiatesDropsNoCarrier() throws {
        let client = ClientSide()
        try begin(client, FakeNetworkServer())
        client.end(SessionEnd(.hangUp, "the VMM is gone"))
        _ = try beginAgain(client, at: Self.second * 10)
        client.end(SessionEnd(.hangUp, "the VMM is gone"))
        #expect(client.carrier)
    }

    /// Its predecessor died, and the interface's carrier with it.
    @Test func aNewStubBeginsWithTheCarrierThatThereWas() {
        for drops in [false, true] {
            var configuration = NetworkConfiguration()
            configuration.dropsCarrier = drops
            #expect(!ClientSide(configuration).carrier)
            configuration.beginsWithCarrier = true
            #expect(ClientSide(configuration).carrier == !drops)
        }
    }

    @Test func silenceEndsTheSession() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        try begin(client, server)
        server.answers = false
        var now = client.nextDeadline
        try client.checkDeadlines(now: now)
        #expect(client.hasMessages)
        now = client.nextDeadline
        #expect(throws: SessionEnd(.pingTimeout, "no answer to a PING within 3000 ms")) { try client.checkDeadlines(now: now) }
    }

    @Test func aCommandWithoutAnswerEndsTheSession() throws {
        let client = ClientSide()
        let server = FakeNetworkServer()
        try begin(client, server)
        try client.request(.describe, ticket: 3)
        #expect(throws: SessionEnd(.requestDeadline, "no answer to describing the interface within 10 s")) {
            try client.checkDeadlines(now: Self.second * 12)
        }
        client.end(SessionEnd(.requestDeadline, "…"))
        #expect(client.nextAnswer()?.ticket == 3)
    }

    @Test func liesEndTheSession() throws {
        let lies: [(inout MessageOutbox) throws -> Void] = [
            { try $0.netControlAnswer(device: 0, token: 7, answer: [UInt8](repeating: 0, count: 1).span) },
            { try $0.pong(token: 9, 1) },
            { try $0.deviceStatusSet(device: 0, token: 1, []) },
            { try $0.eventConfig(device: 0, status: [], generation: 1, data: [UInt8](repeating: 0, count: 17).span) },
            { try $0.eventConfig(device: 3, status: [], generation: 1, data: [UInt8](repeating: 0, count: 4).span) },
        ]
        for lie in lies {
            let client = ClientSide()
            let server = FakeNetworkServer()
            try begin(client, server)
            try server.say(lie)
            do {
                try client.exchange(server, now: Self.second)
                Issue.record("a lie was believed")
            } catch let end as SessionEnd {
                #expect(end.loss == .protocolViolation)
            }
        }
    }
}
