import LinuxSystem
import ServerStub
import Testing
import VirtioMessage
import Virtqueue

@Suite struct HostileClientTests {
    private let bytes = [UInt8](repeating: 7, count: 1 << 20)

    private func fresh() throws -> TestDriver { try TestDriver(ServerFixture([.init(bytes: bytes)])) }

    private func running() throws -> TestDriver {
        let driver = try fresh()
        try driver.start()
        return driver
    }

    /// After a broken ring: the device asks for a reset, everything else goes on, and a reset makes it whole.
    private func expectRecovery(_ driver: TestDriver) throws {
        #expect(try driver.ping())
        #expect(try driver.status().contains(.needsReset))
        #expect(driver.statusEvents.last?.contains(.needsReset) == true)
        #expect(try driver.setStatus([]) == [])
        try driver.start()
        #expect(try driver.request(type: 0, sector: 0, in: 512).status == 0)
    }

    @Test func aRequestWithoutAStatusByteBreaksTheDeviceOnly() throws {
        let driver = try running()
        driver.write(header: 0, 0, at: 1 << 20)
        try driver.offer([.readable(1 << 20, 16)])
        try expectRecovery(driver)
    }

    @Test(arguments: [4 << 20, UInt64.max, UInt64.max - 16, (4 << 20) - 8] as [UInt64])
    func aBufferPastThePoolBreaksTheDeviceOnly(address: UInt64) throws {
        let driver = try running()
        driver.write(header: 0, 0, at: 1 << 20)
        try driver.offer([.readable(1 << 20, 16), .writable(address, 512), .writable((1 << 20) + 64, 1)])
        try expectRecovery(driver)
    }

    @Test func aWildAvailIndexBreaksTheDeviceOnly() throws {
        let driver = try running()
        let layout = VirtqueueLayout(size: 64, at: 0, indirectEntries: 4)
        _ = driver.memory.store(UInt16(1000), at: layout.driver + 2)
        try driver.outbox.eventAvail(device: 0, queue: 0)
        try driver.send()
        try expectRecovery(driver)
    }

    @Test func aChainThatLoopsBreaksTheDeviceOnly() throws {
        let driver = try running()
        let layout = VirtqueueLayout(size: 64, at: 0, indirectEntries: 4)
        // Descriptor 5: 16 bytes, NEXT, next is 5 again.
        _ = driver.memory.store(UInt64(1 << 20), at: layout.descriptors + 5 * 16)
        _ = driver.memory.store(UInt64(16 | 1 << 32 | 5 << 48), at: layout.descriptors + 5 * 16 + 8)
        _ = driver.memory.store(UInt16(5), at: layout.driver + 4)
        _ = driver.memory.store(UInt16(1), at: layout.driver + 2)
        try driver.outbox.eventAvail(device: 0, queue: 0)
        try driver.send()
        try expectRecovery(driver)
    }

    @Test func aShortHeaderIsAnsweredWithAnError() throws {
        let driver = try running()
        try driver.offer([.readable(1 << 20, 15), .writable((1 << 20) + 64, 1)])
        _ = try driver.nextUsed()
        #expect(driver.memory.load(at: (1 << 20) + 64, as: UInt8.self) == 1)
    }

    @Test func aHeaderInPiecesIsUnderstood() throws {
        let driver = try running()
        driver.write(header: 0, 0, at: 1 << 20)
        let base = UInt64(1 << 20)
        try driver.offer([
            .readable(base, 3), .readable(base + 3, 13), .writable(base + 4096, 500), .writable(base + 8192, 13),
        ])
        #expect(try driver.nextUsed().length == 513)
        #expect(driver.memory.load(at: base + 8192 + 12, as: UInt8.self) == 0)
        #expect(Array(driver.memory.bytes(at: base + 8192, count: 12)!) == Array(bytes[500..<512]))
    }

    // MARK: messages

    @Test func messagesOfEveryWrongSizeAndTypeAreSurvived() throws {
        let driver = try running()
        for id in UInt8.min...UInt8.max where id != 0xC1 {
            for type in UInt8(0)...3 {
                var stream: [UInt8] = []
                for payload in [0, 1, 3, 4, 5, 8, 40, 41] {
                    stream += [type, id, 0, 0, 1, 0, UInt8(8 + payload), 0] + [UInt8](repeating: 0xFF, count: payload)
                }
                try driver.send(raw: stream)
            }
            // Answers to those that happened to be right are taken off the socket.
            let token = try driver.outbox.ping(UInt32(id))
            try driver.send()
            while true {
                let answer = try driver.nextAnswer()
                if answer.header.token == token, answer.message == .pong(UInt32(id)) { break }
            }
        }
    }

    @Test func aStreamWithoutFramingEndsTheConnection() throws {
        let driver = try fresh()
        try driver.send(raw: [0, 2, 0, 0, 1, 0, 0, 0])
        #expect(try driver.fixture.end()?.get() == .badStream)
    }

    @Test func closingEndsServing() throws {
        let driver = try running()
        driver.fixture.client.shutdown()
        #expect(try driver.fixture.end()?.get() == .closed)
    }

    @Test func anInjectedFaultIsLeftToTheCaller() throws {
        let driver = try running()
        try driver.outbox.inject(.hang)
        try driver.send()
        #expect(try driver.fixture.end()?.get() == .injected(.hang))
    }

    @Test func aDeviceThatIsNotThereHasNothingToSay() throws {
        let driver = try fresh()
        #expect(try driver.ask { try $0.getDeviceInfo(device: 1) } == .deviceInfo(DeviceInfo()))
        #expect(try driver.ask { try $0.getDeviceInfo(device: 0xFFFF) } == .deviceInfo(DeviceInfo()))
        _ = try driver.outbox.setDeviceStatus(device: 9, [.acknowledge])
        #expect(try driver.ping())
    }

    // MARK: status machine

    @Test func featuresThatWereNotOfferedAreRefused() throws {
        let driver = try fresh()
        for features in [1 << 63 | 1 << 32, 1 << 9, 1 << 38 | 1 << 32] as [UInt64] {
            _ = try driver.setStatus([])
            _ = try driver.setStatus([.acknowledge, .driver])
            try driver.ask { try $0.setDriverFeatures(device: 0, features) }
            #expect(try driver.setStatus([.acknowledge, .driver, .featuresOK]) == [.acknowledge, .driver])
            #expect(try driver.setStatus([.acknowledge, .driver, .driverOK]) == [.acknowledge, .driver])
        }
    }

    @Test func aQueueBeforeItsTimeOrOutsideThePoolIsRefused() throws {
        let driver = try fresh()
        let good = VirtqueueLayout(size: 64, at: 0)
        func set(_ index: UInt32, _ size: UInt32, _ descriptors: UInt64, _ used: UInt64) throws -> UInt32 {
            try driver.ask {
                try $0.setVirtqueue(
                    device: 0,
                    QueueConfiguration(index: index, size: size, descriptors: descriptors, driver: good.driver, device: used))
            }
            guard case .virtqueue(let queue) = try driver.ask({ try $0.getVirtqueue(device: 0, index: index) }) else { return 99 }
            return queue.size
        }
        #expect(try set(0, 64, good.descriptors, good.device) == 0)
        for (index, size, descriptors, used) in [
            (UInt32(2), UInt32(64), good.descriptors, good.device), (UInt32.max, 64, good.descriptors, good.device),
            (0, 63, good.descriptors, good.device), (0, 0, good.descriptors, good.device), (0, 512, good.descriptors, good.device),
            (0, 64, 8, good.device), (0, 64, UInt64.max - 15, good.device), (0, 64, good.descriptors, UInt64(4 << 20) - 4),
        ] {
            _ = try driver.setStatus([])
            _ = try driver.setStatus([.acknowledge, .driver])
            try driver.ask { try $0.setDriverFeatures(device: 0, 1 << 32) }
            _ = try driver.setStatus([.acknowledge, .driver, .featuresOK])
            #expect(try set(index, size, descriptors, used) == 0)
            #expect(try driver.status().contains(.needsReset))
        }
        _ = try driver.setStatus([])
        try driver.start()
        #expect(try driver.request(type: 0, sector: 0, in: 512).status == 0)
    }

    @Test func nothingIsTakenBeforeDriverOK() throws {
        let driver = try fresh()
        _ = try driver.setStatus([.acknowledge, .driver])
        try driver.ask { try $0.setDriverFeatures(device: 0, 1 << 32) }
        _ = try driver.setStatus([.acknowledge, .driver, .featuresOK])
        try driver.setUpQueue(features: 1 << 32)
        driver.write(header: 4, 0, at: 1 << 20)
        try driver.offer([.readable(1 << 20, 16), .writable((1 << 20) + 64, 1)])
        #expect(try driver.ping())
        let layout = VirtqueueLayout(size: 64, at: 0, indirectEntries: 4)
        #expect(driver.memory.load(at: layout.device + 2, as: UInt16.self) == 0)
        _ = try driver.setStatus([.acknowledge, .driver, .featuresOK, .driverOK])
        _ = try driver.nextUsed()
    }

    @Test func aResetInMidRequestIsAnsweredAfterTheLastOne() throws {
        let driver = try running()
        for round in 0..<20 {
            for slot in 0..<16 as Range<UInt64> {
                let base = UInt64(1 << 20) + slot * 65536
                driver.write(header: 0, 0, at: base)
                try driver.offer([.readable(base, 16), .writable(base + 4096, 32768), .writable(base + 64, 1)], token: slot)
            }
            #expect(try driver.setStatus([]) == [], "round \(round)")
            // From here on nothing may write into the pool any more.
            let data = driver.memory.bytes(at: 1 << 20, count: 1 << 20)!
            for index in data.indices { data[index] = 0x55 }
            #expect(try driver.ping())
            #expect(data.allSatisfy { $0 == 0x55 })
            try driver.start()
            #expect(try driver.request(type: 0, sector: 0, in: 512).status == 0)
        }
    }

    /// A driver that waits, and whose wish for a doorbell was not seen: its PING gets it the doorbell.
    @Test func aPingBringsTheDoorbellThatWasNotAskedFor() throws {
        let driver = try running()
        let layout = VirtqueueLayout(size: 64, at: 0, indirectEntries: 4)
        driver.write(header: 4, 0, at: 1 << 20)
        try driver.offer([.readable(1 << 20, 16), .writable((1 << 20) + 64, 1)], doorbell: false)
        _ = driver.memory.store(UInt16(1000), at: layout.driver + 4 + 2 * 64)
        try driver.outbox.eventAvail(device: 0, queue: 0)
        try driver.send()
        var pings = 0
        while driver.doorbells == 0, pings < 1000 {
            #expect(try driver.ping())
            pings += 1
        }
        #expect(driver.doorbells == 1)
        #expect(try driver.nextUsed().length == 1)
        for _ in 0..<10 { #expect(try driver.ping()) }
        #expect(driver.doorbells == 1, "one is enough")
    }

    @Test func aQueueResetLeavesTheOtherQueuesAlone() throws {
        let driver = try running()
        let features = try driver.offeredFeatures()
        try driver.setUpQueue(index: 1, features: features)
        #expect(try driver.ask { try $0.resetVirtqueue(device: 0, index: 0) } == .virtqueueReset)
        #expect(try driver.request(type: 0, sector: 0, in: 512, queue: 1).status == 0)
        try driver.setUpQueue(index: 0, features: features)
        #expect(try driver.request(type: 0, sector: 0, in: 512, queue: 0).status == 0)
    }

    @Test func aClientThatReadsNothingStopsOnlyItself() throws {
        let driver = try running()
        // More answers than every buffer holds: the server stops reading, and goes on when its answers are taken.
        let pings = 60_000
        for turn in 0..<pings where turn % 600 == 0 {
            var stream: [UInt8] = []
            for number in turn..<turn + 600 {
                stream += [2, 3, 0, 0, 1, 0, 12, 0, UInt8(number & 255), UInt8(number >> 8 & 255), UInt8(number >> 16), 0]
            }
            var rest = stream[...]
            while !rest.isEmpty {
                do {
                    let sent = try rest.withUnsafeBytes { try driver.fixture.client.send($0, flags: 0x40) }  // MSG_DONTWAIT
                    rest = rest.dropFirst(sent)
                } catch let error as SystemError {
                    #expect(error.code == 11)  // EAGAIN: full on both ways
                    _ = try driver.nextAnswer()
                }
            }
        }
        #expect(try driver.fixture.contents().count == 1 << 20)
    }
}
