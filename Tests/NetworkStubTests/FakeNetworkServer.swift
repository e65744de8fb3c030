import ClientStub
import StubControl
import VirtioMessage
import VirtioNet

@testable import NetworkStub

/// A network DD/OS in this process: answers as its server stub does, and lies when it is told to.
final class FakeNetworkServer {
    var nic: NetDescription
    var statistics: [NetStatisticsPage.Counter] = []
    /// Commands in the order in which they came.
    private(set) var commands: [NetControlCommand] = []
    /// The same, those that came together each in an array of their own.
    private(set) var deliveries: [[NetControlCommand]] = []
    /// Commands that the driver refuses.
    var refuses: (NetControlCommand) -> Bool = { _ in false }
    var answers = true
    private var inbox = MessageInbox()
    private var outbox = MessageOutbox()
    private var clientInbox = MessageInbox()

    init(mtu: UInt32 = 1500) {
        nic = NetDescription()
        nic.mac = 0x5254_0000_0001
        nic.permanentMAC = nic.mac
        (nic.mtu, nic.smallestMTU, nic.largestMTU) = (mtu, 68, 9000)
        nic.flags = [.carrier, .hasRing]
        (nic.receiveRing, nic.receiveRingMost, nic.transmitRing, nic.transmitRingMost) = (256, 4096, 256, 4096)
        nic.driver = "e1000e"
    }

    func greet() throws {
        let none: [PoolExtent] = []
        try outbox.pool(pageSize: 4096, isFile: false, extents: none.span)
    }

    func linkChanged(_ on: Bool) throws {
        if on { nic.flags.insert(.carrier) } else { nic.flags.remove(.carrier) }
        try outbox.eventConfig(device: 0, status: [.acknowledge, .driver, .featuresOK, .driverOK], generation: 1, data: configuration.span)
    }

    /// Anything at all.
    func say(_ body: (inout MessageOutbox) throws -> Void) throws { try body(&outbox) }

    private var configuration: [UInt8] {
        let configuration = VirtioNetConfiguration(mac: nic.mac, hasLink: nic.flags.contains(.carrier), mtu: UInt16(nic.mtu))
        return (0..<VirtioNetConfiguration.byteCount).map(configuration.byte)
    }

    /// Carries messages to and fro until both are silent.
    func exchange(_ session: inout NetworkSession, _ client: inout MessageOutbox, now: UInt64) throws {
        while true {
            let asked = Array(client.pending)
            client.sent(asked.count)
            if answers {
                let known = commands.count
                defer { if commands.count > known { deliveries.append(Array(commands[known...])) } }
                _ = inbox.fill(from: asked.span)
                while let header = try inbox.next() {
                    let bytes = inbox.copy()
                    try answer(DriverMessage(untrusted: header, bytes.span), header, bytes)
                }
            }
            let said = Array(outbox.pending)
            outbox.sent(said.count)
            if said.isEmpty, asked.isEmpty { return }
            _ = clientInbox.fill(from: said.span)
            while let header = try clientInbox.next() {
                let bytes = clientInbox.copy()
                try session.received(DeviceMessage(untrusted: header, bytes.span), header, bytes.span, &client, now: now)
            }
            try session.issue(&client)
        }
    }

    private func answer(_ message: DriverMessage, _ header: MessageHeader, _ bytes: [UInt8]) throws {
        let token = header.token
        switch message {
        case .getDevices: try outbox.devices(token: token, DeviceWindow(offset: 0, count: 64, next: 0, present: 1))
        case .ping(let data): try outbox.pong(token: token, data)
        case .getDeviceInfo:
            try outbox.deviceInfo(device: 0, token: token, DeviceInfo(deviceID: 1, featureBits: 64, configurationSize: 17))
        case .getDeviceFeatures(let asked):
            let features: VirtioNetFeatures = [.version1, .mac, .status, .mtu]
            try outbox.deviceFeatures(device: 0, token: token, asked: asked, features: features.rawValue)
        case .setDriverFeatures: try outbox.driverFeaturesSet(device: 0, token: token)
        case .setDeviceStatus(let status): try outbox.deviceStatusSet(device: 0, token: token, status)
        case .getConfig: try outbox.config(device: 0, token: token, generation: 0, offset: 0, data: configuration.span)
        case .netControl(_, let data):
            let part = Array(bytes[data.offset..<(data.offset + data.count)])
            let command = try NetControlCommand(untrusted: part.span)
            commands.append(command)
            try outbox.netControlAnswer(device: 0, token: token, answer: perform(command).encoded().span)
        default: break
        }
    }

    private func perform(_ command: NetControlCommand) -> NetControlAnswer {
        if refuses(command) { return .refused(code: 22, reason: "the hardware cannot") }
        switch command {
        case .setMTU(let mtu): nic.mtu = mtu
        case .setMAC(let mac): nic.mac = mac
        case .setRing(let receive, let transmit):
            if receive != NetControlCommand.leave { nic.receiveRing = receive }
            if transmit != NetControlCommand.leave { nic.transmitRing = transmit }
        case .describe: return .done(result: nic.encoded())
        case .statistics(let first):
            let page = statistics.dropFirst(Int(first)).prefix(NetStatisticsPage.most)
            return .done(
                result: NetStatisticsPage(total: UInt32(statistics.count), first: first, counters: Array(page)).encoded())
        default: break
        }
        return .done(result: [])
    }
}

/// The client's side of a session, with its outbox.
final class ClientSide {
    private var session: NetworkSession
    private var outbox = MessageOutbox()

    init(_ configuration: NetworkConfiguration = NetworkConfiguration()) { session = NetworkSession(configuration) }

    var state: StubStatus.State { session.state }
    var carrier: Bool { session.carrier }
    var takesPackets: Bool { session.takesPackets }
    var interface: StubInterface? { session.interface }
    var settings: StubInterfaceSettings { session.settings }
    var nextDeadline: UInt64 { session.nextDeadline }
    var hasMessages: Bool { !outbox.isEmpty }

    func open(_ life: UInt64) -> Bool { session.open(generation: life) }
    func nextEvent() -> StubEvent? { session.nextEvent() }
    func nextAnswer() -> (ticket: UInt64, reply: StubReply)? { session.nextAnswer() }
    func end(_ end: SessionEnd) { session.endSession(end) }
    func request(_ request: StubInterfaceRequest, ticket: UInt64) throws {
        session.request(request, ticket: ticket)
        try session.issue(&outbox)
    }

    /// Connects, and shakes hands as far as the server does.
    func connect(_ server: FakeNetworkServer, now: UInt64) throws {
        session.beginSession(now: now)
        try server.greet()
        try exchange(server, now: now)
    }

    func queuesRun(now: UInt64) {
        session.queuesRun = true
        session.checkReadiness(now: now)
    }

    func exchange(_ server: FakeNetworkServer, now: UInt64) throws { try server.exchange(&session, &outbox, now: now) }
    func checkDeadlines(now: UInt64) throws { try session.checkDeadlines(&outbox, now: now) }
}
