import LinuxSystem
import ServerStub
import Testing
import VirtioBlock
import VirtioMessage
import Virtqueue

private let megabyte = 1 << 20
private func pattern(_ count: Int, seed: UInt8 = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ Int(seed)) }
}

@Suite struct BlockServiceTests {
    /// A driver with one running device of one MiB.
    private func running(isReadOnly: Bool = false, features: UInt64? = nil) throws -> TestDriver {
        let fixture = try ServerFixture([.init(bytes: pattern(megabyte), isReadOnly: isReadOnly)])
        let driver = try TestDriver(fixture)
        try driver.start(features: features)
        return driver
    }

    @Test func whatIsOnTheDiskIsRead() throws {
        let driver = try running()
        let answer = try driver.request(type: 0, sector: 8, in: 8192)
        #expect(answer.status == 0)
        #expect(answer.data == Array(pattern(megabyte)[4096..<12288]))
        #expect(answer.usedLength == 8193)
    }

    @Test func whatIsWrittenIsOnTheDisk() throws {
        let driver = try running()
        let data = pattern(65536, seed: 99)
        let answer = try driver.request(type: 1, sector: 16, out: data)
        #expect(answer.status == 0 && answer.usedLength == 1)
        #expect(try driver.request(type: 4, sector: 0).status == 0)
        #expect(try Array(driver.fixture.contents()[8192..<8192 + 65536]) == data)
        #expect(try driver.request(type: 0, sector: 16, in: 65536).data == data)
    }

    @Test(arguments: [0, 1 << 28, 1 << 29, 1 << 28 | 1 << 29] as [UInt64])
    func everyMixOfRingFeaturesServes(ring: UInt64) throws {
        let driver = try running(features: 1 << 32 | 1 << 9 | ring)
        for turn in 0..<300 {
            let data = pattern(512, seed: UInt8(truncatingIfNeeded: turn))
            #expect(try driver.request(type: 1, sector: UInt64(turn), out: data).status == 0)
            #expect(try driver.request(type: 0, sector: UInt64(turn), in: 512).data == data)
        }
    }

    @Test func manyRequestsAtOnceAllComeBack() throws {
        let driver = try running()
        let disk = pattern(megabyte)
        for round in 0..<50 {
            for slot in 0..<32 as Range<UInt64> {
                let base = UInt64(megabyte) + slot * 16384
                driver.write(header: 0, (UInt64(round) * 32 + slot) % 2040, at: base)
                try driver.offer(
                    [.readable(base, 16), .writable(base + 4096, 2048), .writable(base + 8192, 2048), .writable(base + 1024, 1)],
                    token: slot, doorbell: slot == 31 || slot % 3 == 0)
            }
            // Whoever suppressed the doorbell has to ring in the end.
            try driver.outbox.eventAvail(device: 0, queue: 0)
            try driver.send()
            var seen: Set<UInt64> = []
            for _ in 0..<32 {
                let used = try driver.nextUsed()
                let base = UInt64(megabyte) + used.token * 16384
                let from = Int((UInt64(round) * 32 + used.token) % 2040) * 512
                #expect(driver.memory.load(at: base + 1024, as: UInt8.self) == 0)
                #expect(Array(driver.memory.bytes(at: base + 4096, count: 2048)!) == Array(disk[from..<from + 2048]))
                #expect(Array(driver.memory.bytes(at: base + 8192, count: 2048)!) == Array(disk[from + 2048..<from + 4096]))
                seen.insert(used.token)
            }
            #expect(seen.count == 32)
        }
    }

    @Test func identifyGivesTheSerial() throws {
        let driver = try running()
        let answer = try driver.request(type: 8, sector: 0, in: 20)
        #expect(answer.status == 0)
        #expect(answer.data == Array("S-disk".utf8) + [UInt8](repeating: 0, count: 14))
    }

    @Test func zeroesAndDiscardsReachTheDisk() throws {
        let driver = try running()
        let range: [UInt8] = [8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]
        #expect(try driver.request(type: 13, sector: 0, out: range).status == 0)
        let zeroed = try driver.request(type: 0, sector: 8, in: 8192)
        #expect(zeroed.data == [UInt8](repeating: 0, count: 8192))
        #expect(try driver.request(type: 0, sector: 7, in: 512).data == Array(pattern(megabyte)[3584..<4096]))
        let discard: [UInt8] = [64, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
        #expect(try driver.request(type: 11, sector: 0, out: discard).status == 0)
        #expect(try driver.request(type: 0, sector: 72, in: 512).data == Array(pattern(megabyte)[36864..<37376]))
    }

    /// type, sector, data out, room in → the status.
    @Test(arguments: [
        (UInt32(0), UInt64(2047), 0, 1024, UInt8(1)),  // half past the end
        (0, 2048, 0, 512, 1),  // just past the end
        (0, UInt64.max, 0, 512, 1),
        (0, UInt64.max / 512 + 1, 0, 512, 1),  // overflows to the start
        (0, 0, 0, 511, 1),  // no whole sector
        (1, 2048, 512, 0, 1),
        (1, 0, 100, 0, 1),
        (0, 0, 0, 0, 0),  // nothing at all
        (2, 0, 0, 0, 2), (3, 0, 0, 512, 2), (99, 0, 0, 0, 2), (UInt32.max, 0, 0, 0, 2),
        (8, 0, 0, 0, 0),  // an identity cut to nothing
        (11, 0, 8, 0, 2), (13, 0, 0, 0, 2), (13, 0, 32, 0, 2),
    ])
    func aRequestThatCannotBeIsAnsweredAndNothingBreaks(
        type: UInt32, sector: UInt64, out: Int, room: Int, status: UInt8
    ) throws {
        let driver = try running()
        let answer = try driver.request(type: type, sector: sector, out: [UInt8](repeating: 0, count: out), in: room)
        #expect(answer.status == status)
        #expect(try driver.fixture.contents() == pattern(megabyte))
        #expect(try driver.request(type: 0, sector: 0, in: 512).status == 0)
    }

    @Test(arguments: [UInt32(11), 13])
    func aRangePastTheEndIsRefused(type: UInt32) throws {
        let driver = try running()
        for (sector, count, flags, status) in [
            (UInt64(2047), UInt32(2), UInt32(0), UInt8(1)), (2049, 0, 0, 1), (UInt64.max, 1, 0, 1), (0, UInt32.max, 0, 1),
            (0, 8, 0x8000_0000, 2), (0, 8, 2, 2),
        ] {
            var bytes = [UInt8](repeating: 0, count: 16)
            bytes.withUnsafeMutableBytes { VirtioBlockRange(sector: sector, sectorCount: count).store(to: $0.baseAddress!) }
            bytes.withUnsafeMutableBytes { $0.storeBytes(of: flags, toByteOffset: 12, as: UInt32.self) }
            #expect(try driver.request(type: type, sector: 0, out: bytes).status == status)
        }
        #expect(try driver.fixture.contents() == pattern(megabyte))
    }

    @Test func aReadOnlyDiskIsNeverWritten() throws {
        let driver = try running(isReadOnly: true)
        #expect(try driver.offeredFeatures() & (1 << 5 | 1 << 13 | 1 << 14) == 1 << 5)
        #expect(try driver.request(type: 1, sector: 0, out: [UInt8](repeating: 0, count: 512)).status == 1)
        #expect(try driver.request(type: 13, sector: 0, out: [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).status == 1)
        #expect(try driver.request(type: 0, sector: 0, in: 512).status == 0)
        #expect(try driver.fixture.contents() == pattern(megabyte))
    }

    @Test func theConfigurationDescribesTheDisk() throws {
        let driver = try running()
        let space = try driver.configuration()
        #expect(space.capacity == 2048 && space.blockSize == 512 && space.queueCount == 2)
        #expect(space.maximumSegments == 126 && space.physicalBlockExponent == 3)
        let features = VirtioBlockFeatures(rawValue: try driver.offeredFeatures())
        #expect(
            features.isSuperset(of: [
                .maximumSegmentSize, .maximumSegments, .blockSize, .flush, .topology, .multipleQueues, .discard, .writeZeroes,
                .indirectDescriptors, .eventIndex, .version1,
            ]))
        #expect(!features.contains(.readOnly))
        _ = try VirtioBlockDisk(untrusted: space, features: features)
    }

    @Test func twoDisksAndTwoQueuesAreServedSideBySide() throws {
        let fixture = try ServerFixture([
            .init(name: "a", bytes: pattern(megabyte, seed: 1)), .init(name: "b", bytes: pattern(megabyte, seed: 2)),
        ])
        let driver = try TestDriver(fixture, disks: 2)
        #expect(driver.names == ["a", "b"])
        guard case .devices(let window) = try driver.ask({ try $0.getDevices(offset: 0, count: 64) }) else { return }
        #expect(window.present == 3 && window.next == 0)
        try driver.start(device: 0)
        try driver.start(device: 1)
        try driver.setUpQueue(device: 1, index: 1, features: try driver.offeredFeatures(device: 1))
        #expect(try driver.request(type: 0, sector: 0, in: 512, device: 0).data == Array(pattern(512, seed: 1)))
        #expect(try driver.request(type: 0, sector: 0, in: 512, device: 1, queue: 1).data == Array(pattern(512, seed: 2)))
    }
}
