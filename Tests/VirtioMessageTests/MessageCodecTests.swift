import Testing
import VirtioMessage

/// The bytes that an outbox would send.
private func bytes(_ body: (inout MessageOutbox) throws -> Void) rethrows -> [UInt8] {
    var outbox = MessageOutbox()
    try body(&outbox)
    return Array(outbox.pending)
}

private func driverMessage(_ bytes: [UInt8]) throws(MessageError) -> DriverMessage {
    try DriverMessage(untrusted: MessageHeader(untrusted: bytes.span), bytes.span)
}

private func deviceMessage(_ bytes: [UInt8]) throws(MessageError) -> DeviceMessage {
    try DeviceMessage(untrusted: MessageHeader(untrusted: bytes.span), bytes.span)
}

/// One of every message of the driver side, with what it has to decode to.
let driverMessages: [(bytes: [UInt8], message: DriverMessage)] = {
    let queue = QueueConfiguration(index: 3, size: 256, descriptors: 0x1000, driver: 0x2000, device: 0x1_0000_0000)
    do {
        return [
            (try bytes { _ = try $0.getDevices(offset: 8, count: 64) }, .getDevices(offset: 8, count: 64)),
            (try bytes { _ = try $0.ping(7) }, .ping(7)),
            (try bytes { try $0.pong(token: 9, 8) }, .pong(8)),
            (try bytes { try $0.inject(.hang) }, .inject(.hang)),
            (try bytes { try $0.inject(.panic) }, .inject(.panic)),
            (try bytes { _ = try $0.getDeviceInfo(device: 1) }, .getDeviceInfo),
            (try bytes { _ = try $0.getDeviceFeatures(device: 1) }, .getDeviceFeatures(FeatureBlocks(first: 0, count: 2))),
            (
                try bytes { _ = try $0.setDriverFeatures(device: 1, 0x1_2000_0003) },
                .setDriverFeatures(FeatureBlocks(first: 0, count: 2, bits: 0x1_2000_0003))
            ),
            (try bytes { _ = try $0.getConfig(device: 1, offset: 8, length: 52) }, .getConfig(offset: 8, length: 52)),
            (try bytes { _ = try $0.getDeviceStatus(device: 1) }, .getDeviceStatus),
            (
                try bytes { _ = try $0.setDeviceStatus(device: 1, [.acknowledge, .driver]) },
                .setDeviceStatus([.acknowledge, .driver])
            ),
            (try bytes { _ = try $0.getVirtqueue(device: 1, index: 2) }, .getVirtqueue(index: 2)),
            (try bytes { _ = try $0.setVirtqueue(device: 1, queue) }, .setVirtqueue(queue)),
            (try bytes { _ = try $0.resetVirtqueue(device: 1, index: 2) }, .resetVirtqueue(index: 2)),
            (try bytes { _ = try $0.getSharedMemory(device: 1, index: 2) }, .getSharedMemory(index: 2)),
            (try bytes { try $0.eventAvail(device: 1, queue: 2) }, .eventAvail(queue: 2, next: 0)),
        ]
    } catch {
        return []
    }
}()

let deviceMessages: [(bytes: [UInt8], message: DeviceMessage)] = {
    let window = DeviceWindow(offset: 8, count: 16, next: 24, present: 0x8001)
    let info = DeviceInfo(deviceID: 2, vendorID: 9, featureBits: 64, configurationSize: 60, maximumVirtqueues: 4)
    let queue = QueueConfiguration(index: 3, maximumSize: 256, size: 128, descriptors: 1 << 12, driver: 2 << 12, device: 3 << 12)
    do {
        return [
            (try bytes { try $0.devices(token: 1, window) }, .devices(window)),
            (try bytes { try $0.eventDevice(number: 5, .removed) }, .eventDevice(number: 5, state: .removed)),
            (try bytes { try $0.deviceInfo(device: 1, token: 2, info) }, .deviceInfo(info)),
            (
                try bytes {
                    try $0.deviceFeatures(device: 1, token: 2, asked: FeatureBlocks(first: 1, count: 3), features: 5 << 32 | 9)
                }, .deviceFeatures(FeatureBlocks(first: 1, count: 3, bits: 5 << 32))
            ),
            (try bytes { try $0.driverFeaturesSet(device: 1, token: 2) }, .driverFeaturesSet),
            (try bytes { try $0.deviceStatus(device: 1, token: 2, .needsReset) }, .deviceStatus(.needsReset)),
            (try bytes { try $0.deviceStatusSet(device: 1, token: 2, .driver) }, .deviceStatusSet(.driver)),
            (try bytes { try $0.virtqueue(device: 1, token: 2, queue) }, .virtqueue(queue)),
            (try bytes { try $0.virtqueueSet(device: 1, token: 2) }, .virtqueueSet),
            (try bytes { try $0.virtqueueReset(device: 1, token: 2) }, .virtqueueReset),
            (
                try bytes { try $0.sharedMemory(device: 1, token: 2, index: 3, length: 4, address: 5) },
                .sharedMemory(index: 3, length: 4, address: 5)
            ),
            (try bytes { try $0.eventUsed(device: 1, queue: 4) }, .eventUsed(queue: 4)),
        ]
    } catch {
        return []
    }
}()

@Suite struct MessageCodecTests {
    @Test func everyDriverMessageComesBackAsItWasSent() throws {
        #expect(driverMessages.count == 16)
        for (bytes, message) in driverMessages { #expect(try driverMessage(bytes) == message) }
    }

    @Test func everyDeviceMessageComesBackAsItWasSent() throws {
        #expect(deviceMessages.count == 12)
        for (bytes, message) in deviceMessages { #expect(try deviceMessage(bytes) == message) }
    }

    /// The layout of the draft, byte for byte.
    @Test func headerAndEventAvailHaveTheDraftsLayout() throws {
        let sent = try bytes { try $0.eventAvail(device: 0x0102, queue: 0x0304) }
        #expect(sent == [0, 0x41, 0x02, 0x01, 0, 0, 16, 0, 0x04, 0x03, 0, 0, 0, 0, 0, 0])
        let ping = try bytes { _ = try $0.ping(0xAABB_CCDD) }
        #expect(ping == [2, 0x03, 0, 0, 1, 0, 12, 0, 0xDD, 0xCC, 0xBB, 0xAA])
        let pong = try bytes { try $0.pong(token: 0x1234, 1) }
        #expect(pong == [3, 0x03, 0, 0, 0x34, 0x12, 12, 0, 1, 0, 0, 0])
    }

    /// Every message, cut short and made longer: never taken for a good one, never a trap.
    @Test func everyMessageOfAWrongSizeIsRefused() throws {
        for (bytes, message) in driverMessages {
            for payload in 0...80 where payload != bytes.count - 8 {
                let wrong = Self.resized(bytes, payload)
                if case .setDriverFeatures = message, payload == 16 { continue }
                #expect(throws: MessageError.self, "\(message) of \(payload)") { try driverMessage(wrong) }
            }
        }
        for (bytes, message) in deviceMessages {
            for payload in 0...80 where payload != bytes.count - 8 {
                #expect(throws: MessageError.self, "\(message) of \(payload)") { try deviceMessage(Self.resized(bytes, payload)) }
            }
        }
    }

    @Test func aHeaderThatCannotBeRightIsRefused() throws {
        #expect(throws: MessageError.truncated) { try MessageHeader(untrusted: [0, 1, 2, 3, 4, 5, 6].span) }
        #expect(throws: MessageError.headerSize(7)) { try MessageHeader(untrusted: [0, 2, 0, 0, 0, 0, 7, 0].span) }
        #expect(throws: MessageError.tooLarge(4097)) { try MessageHeader(untrusted: [0, 2, 0, 0, 0, 0, 1, 16].span) }
        #expect(MessageError.tooLarge(4097).losesFraming)
    }

    /// "Bits 2…7 … receivers MUST ignore."
    @Test func reservedTypeBitsAreIgnored() throws {
        var ping = driverMessages[1].bytes
        ping[0] |= 0xFC
        #expect(try driverMessage(ping) == .ping(7))
    }

    @Test func unknownMessagesAndWrongDirectionsAreRefused() throws {
        for id in UInt8.min...UInt8.max {
            for type in UInt8(0)...3 {
                let bytes: [UInt8] = [type, id, 0, 0, 0, 0, 12, 0, 1, 0, 0, 0]
                _ = try? driverMessage(bytes)
                _ = try? deviceMessage(bytes)
            }
        }
        #expect(throws: MessageError.unknownMessage(isBus: false, isResponse: false, id: 0x42)) {
            try driverMessage(deviceMessages[11].bytes)
        }
        #expect(throws: MessageError.unknownMessage(isBus: false, isResponse: false, id: 0x41)) {
            try deviceMessage(driverMessages[15].bytes)
        }
        #expect(throws: MessageError.invalidField(isBus: true, id: 0xC1)) {
            try driverMessage([2, 0xC1, 0, 0, 0, 0, 12, 0, 3, 0, 0, 0])
        }
    }

    @Test func countsThatDoNotFitTheMessageAreRefused() throws {
        // 2³² − 1 feature blocks, configuration bytes, extents.
        #expect(throws: MessageError.self) {
            try driverMessage([0, 4, 0, 0, 1, 0, 16, 0, 0, 0, 0, 0, 255, 255, 255, 255])
        }
        #expect(throws: MessageError.self) {
            try driverMessage([0, 6, 0, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255])
        }
        let pool: [UInt8] = [2, 0xC0, 0, 0, 0, 0, 24, 0, 1, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]
        #expect(throws: MessageError.self) { try deviceMessage(pool) }
        #expect(throws: MessageError.self) { try driverMessage([0, 3, 0, 0, 1, 0, 16, 0, 0, 0, 0, 0, 253, 3, 0, 0]) }
    }

    @Test func featuresPast63AreSeenButNotKept() throws {
        let bytes: [UInt8] = [0, 4, 0, 0, 1, 0, 24, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
        let blocks = FeatureBlocks(first: 1, count: 2, bits: 1 << 32, hasUnknownBits: true)
        #expect(try driverMessage(bytes) == .setDriverFeatures(blocks))
        #expect(blocks.coverage == 0xFFFF_FFFF_0000_0000)
    }

    @Test func dataIsWhereTheMessageSays() throws {
        let sent = try bytes { try $0.config(device: 1, token: 2, generation: 3, offset: 4, data: [9, 8, 7].span) }
        #expect(try deviceMessage(sent) == .config(generation: 3, offset: 4, data: sent.data(of: 3)))
        let log = try bytes { try $0.log(Array("disk".utf8).span) }
        guard case .log(let text) = try deviceMessage(log) else { throw MessageError.truncated }
        #expect(Array(log[text.offset..<text.offset + text.count]) == Array("disk".utf8))
        let name = try bytes { try $0.diskName(number: 2, Array("nvme0n1".utf8).span) }
        guard case .diskName(2, let place) = try deviceMessage(name) else { throw MessageError.truncated }
        #expect(Array(name[place.offset..<place.offset + place.count]) == Array("nvme0n1".utf8))
    }

    @Test func aControlCommandAndItsAnswerAreWhereTheMessageSays() throws {
        let sent = try bytes { _ = try $0.netControl(device: 3, command: [0xD0, 1, 2].span) }
        #expect(sent == [2, 0x80, 0, 0, 1, 0, 13, 0, 3, 0, 0xD0, 1, 2])
        guard case .netControl(3, let command) = try driverMessage(sent) else { throw MessageError.truncated }
        #expect(Array(sent[command.offset..<command.offset + command.count]) == [0xD0, 1, 2])
        let back = try bytes { try $0.netControlAnswer(device: 3, token: 7, answer: [0, 9].span) }
        guard case .netControl(3, let answer) = try deviceMessage(back) else { throw MessageError.truncated }
        #expect(Array(back[answer.offset..<answer.offset + answer.count]) == [0, 9])
        // Neither without its two first bytes, nor in the wrong direction.
        for payload in 0...3 { #expect(throws: MessageError.self) { try driverMessage(Self.resized(sent, payload)) } }
        for payload in 0...2 { #expect(throws: MessageError.self) { try deviceMessage(Self.resized(back, payload)) } }
        #expect(throws: MessageError.self) { try deviceMessage(sent) }
        #expect(throws: MessageError.self) { try driverMessage(back) }
    }

    @Test func aConfigurationChangeBringsTheConfiguration() throws {
        let sent = try bytes { try $0.eventConfig(device: 1, status: .driverOK, generation: 4, data: [7, 8].span) }
        guard case .eventConfig(.driverOK, 4, 0, let data) = try deviceMessage(sent) else { throw MessageError.truncated }
        #expect(Array(sent[data.offset..<data.offset + data.count]) == [7, 8])
    }

    /// A network DD/OS shares no memory.
    @Test func aPoolMayBeEmpty() throws {
        let sent = try bytes { try $0.pool(pageSize: 4096, isFile: false, extents: [PoolExtent]().span) }
        #expect(try deviceMessage(sent) == .pool(PoolDescription(pageSize: 4096, isFile: false, extentCount: 0)))
    }

    @Test func thePoolsExtentsComeInOrder() throws {
        let extents = [PoolExtent(address: 0x20_0000, length: 0x20_0000), PoolExtent(address: 0x1_0000_0000, length: 0x40_0000)]
        let sent = try bytes { try $0.pool(pageSize: 0x20_0000, isFile: false, extents: extents.span) }
        let expected = PoolDescription(pageSize: 0x20_0000, isFile: false, extentCount: 2)
        #expect(try deviceMessage(sent) == .pool(expected))
        #expect(expected.extent(0, in: sent.span) == extents[0])
        #expect(expected.extent(1, in: sent.span) == extents[1])
    }

    static func resized(_ bytes: [UInt8], _ payload: Int) -> [UInt8] {
        var wrong = Array(bytes.prefix(8 + payload))
        wrong += [UInt8](repeating: 0, count: 8 + payload - wrong.count)
        wrong[6] = UInt8(8 + payload)
        wrong[7] = 0
        return wrong
    }
}

extension [UInt8] {
    /// The last `count` bytes, as a decoder names them.
    fileprivate func data(of count: Int) -> MessageData {
        guard case .config(_, _, let data)? = try? deviceMessage(self) else { fatalError("not a configuration") }
        precondition(data.count == count && data.offset == self.count - count)
        return data
    }
}
