import StubControl
import Testing
import VirtioBlock

@testable import ClientStub

@Suite("The next life")
struct ReplayTests {
    @Test func writesInFlightReachTheNextLifeOldestFirst() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 2 }
        for tag in 0..<6 { _ = fixture.write(UInt64(tag), UInt8(tag + 1), at: UInt64(tag) * 4096) }
        try fixture.turn()
        #expect(fixture.completions() == [0: .ok, 1: .ok])
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        #expect(fixture.engine.state == .closed)
        #expect(fixture.engine.held == 4)

        // A request of the time in between comes after those that were in flight.
        let late = try #require(fixture.write(6, 7, at: 6 * 4096))
        try fixture.connect(generation: 2)
        #expect(fixture.engine.counters.replayed == 4)
        try fixture.turn()
        #expect(fixture.completions() == [2: .ok, 3: .ok, 4: .ok, 5: .ok, 6: .ok])
        #expect(fixture.server.served.map(\.sector) == [2, 3, 4, 5, 6].map { $0 * 8 })
        for tag in 0..<7 { #expect(fixture.server.disk[tag * 4096 + 17] == UInt8(tag + 1)) }
        fixture.engine.release(late)
    }

    @Test func readsInFlightAreAnsweredByTheNextLife() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 0 }
        fixture.server.disk[4096] = 99
        let buffer = try #require(fixture.read(1, at: 4096))
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        try fixture.connect(generation: 2)
        try fixture.turn()
        #expect(fixture.completions() == [1: .ok])
        #expect(fixture.engine.pointer(of: buffer)[0] == 99)
        fixture.engine.release(buffer)
        #expect(fixture.engine.endedPools == 0)
    }

    @Test func aWriteWithFUAIsWrittenAgainBeforeItIsFlushed() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 1 }
        _ = fixture.write(1, 5, at: 0, fua: true)
        try fixture.turn()
        #expect(fixture.completions() == [:])
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        try fixture.connect(generation: 2)
        try fixture.turn()
        try fixture.turn()
        #expect(fixture.server.served.map(\.operation) == [.write, .flush])
        #expect(fixture.completions() == [1: .ok])
    }

    @Test func moreThanANewPoolHoldsIsReplayedInPieces() throws {
        let fixture = try EngineFixture()
        try fixture.connect(poolBytes: 2 << 20) { $0.patience = 0 }
        var buffers: [BufferHandle] = []
        for tag in 0..<30 { buffers.append(try #require(fixture.write(UInt64(tag), UInt8(tag), at: UInt64(tag) * 32768, bytes: 32768))) }
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        try fixture.connect(generation: 2, poolBytes: 384 << 10)
        #expect(fixture.engine.held > 0, "the smaller pool cannot take all at once")
        #expect(fixture.engine.allocate(bytes: 4096) == nil, "new requests must not take the room of old ones")
        var done: Set<UInt64> = []
        for _ in 0..<30 where done.count < 30 {
            try fixture.turn()
            for (tag, status) in fixture.completions() {
                #expect(status == .ok)
                done.insert(tag)
                fixture.engine.release(buffers[Int(tag)])
            }
            try fixture.exchange()
        }
        #expect(done.count == 30)
        for tag in 0..<30 { #expect(fixture.server.disk[tag * 32768 + 32767] == UInt8(tag)) }
    }

    @Test func anotherDiskUnderTheSameNameIsRefused() throws {
        let fixture = try EngineFixture()
        try fixture.connect()
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        let size = #expect(throws: SessionEnd.self) {
            try fixture.connect(generation: 2) { $0.disk.removeLast(512) }
        }
        #expect(size == SessionEnd(.protocolViolation, "vda has 1048064 bytes now, and had 1048576"))
        fixture.engine.endSession(try #require(size), now: fixture.now)
        let name = #expect(throws: SessionEnd.self) {
            try fixture.connect(generation: 3) {
                $0.name = "vdb"
                $0.serial = "SERIAL-2"
            }
        }
        #expect(name?.reason == "the new life offers vdb, which the first did not")
    }

    @Test func aDiskThatTheKernelCallsOtherwiseNowIsKnownByItsSerialNumber() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 0 }
        _ = fixture.write(1, 7, at: 4096)
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        try fixture.connect(generation: 2) { $0.name = "vdb" }
        try fixture.turn()
        #expect(fixture.completions() == [1: .ok])
        #expect(fixture.server.disk[4096] == 7)
        #expect(fixture.engine.exports.map(\.name) == ["vda"], "clients know it by its first name")
    }

    @Test(arguments: [8 << 20, 2 << 20]) func aSmallerPoolIsNoReasonToRefuseALife(poolBytes: Int) throws {
        let fixture = try EngineFixture(EngineConfiguration(), diskBytes: 8 << 20)
        try fixture.connect(poolBytes: 16 << 20) { $0.patience = 0 }
        let longest = Int(fixture.engine.exports[0].maxRequestBytes)
        for tag in 0..<4 { _ = fixture.write(UInt64(tag), UInt8(tag + 1), at: UInt64(tag * longest), bytes: longest) }
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "another image"), now: fixture.now)
        try fixture.connect(generation: 2, poolBytes: poolBytes)
        #expect(fixture.engine.state == .ready)
        var done: [UInt64: BlockStatus] = [:]
        for _ in 0..<8 where done.count < 4 {
            try fixture.turn()
            for (tag, status) in fixture.completions() {
                done[tag] = status
                fixture.engine.release(BufferHandle(index: UInt32(tag)))
            }
            try fixture.exchange()
        }
        #expect(done == [0: .ok, 1: .ok, 2: .ok, 3: .ok])
        for tag in 0..<4 { #expect(fixture.server.disk[tag * longest + longest - 1] == UInt8(tag + 1)) }
    }

    @Test func aKernelThatDiscardsLessAtOnceIsNoReasonToRefuseALife() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 0 }
        func submit(_ operation: BlockOperation, _ length: UInt32, _ tag: UInt64) {
            fixture.engine.submit(export: 0, operation: operation, offset: 0, length: length, fua: false, buffer: nil, tag: tag)
        }
        submit(.discard, 65536, 1)
        submit(.discard, 4096, 2)
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "another kernel"), now: fixture.now)
        try fixture.connect(generation: 2) {
            $0.discardSectors = 64
            $0.patience = 0
        }
        #expect(fixture.completions() == [1: .ok], "a hint that is too long now")
        submit(.discard, 65536, 3)
        #expect(fixture.completions() == [3: .invalid])
        fixture.server.patience = .max
        try fixture.turn()
        #expect(fixture.completions() == [2: .ok])
        // Zeroes are no hint.
        fixture.server.patience = 0
        submit(.writeZeroes, 65536, 4)
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "another kernel"), now: fixture.now)
        let end = #expect(throws: SessionEnd.self) { try fixture.connect(generation: 3) { $0.zeroesSectors = 64 } }
        #expect(end?.reason == "vda zeroes at most 32768 bytes at once now, and a longer request waits")
        fixture.engine.endSession(try #require(end), now: fixture.now)
        try fixture.connect(generation: 4)
        try fixture.turn()
        #expect(fixture.completions() == [4: .ok])
    }

    @Test func aPoolThatCannotHoldWhatIsHeldIsRefused() throws {
        let fixture = try EngineFixture(EngineConfiguration(), diskBytes: 8 << 20)
        try fixture.connect(poolBytes: 16 << 20)
        fixture.engine.endSession(SessionEnd(.hangUp, "another image"), now: fixture.now)
        let end = #expect(throws: SessionEnd.self) { try fixture.connect(generation: 2, poolBytes: 1 << 20) }
        #expect(end?.reason.hasPrefix("a pool of 1048576 bytes is too small") == true)
    }

    @Test func anotherDiskOfTheSameSizeIsRefusedAndNothingIsReplayedOntoIt() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 0 }
        _ = fixture.write(1, 7, at: 0)
        try fixture.turn()
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        let swapped = #expect(throws: SessionEnd.self) { try fixture.connect(generation: 2) { $0.serial = "SERIAL-2" } }
        let reason = "vda is another disk: it has the serial number 'SERIAL-2', and had the serial number 'SERIAL-1'"
        #expect(swapped == SessionEnd(.protocolViolation, reason))
        fixture.engine.endSession(try #require(swapped), now: fixture.now)
        #expect(fixture.engine.held == 1)
        let mute = #expect(throws: SessionEnd.self) { try fixture.connect(generation: 3) { $0.identifyStatus = 2 } }
        #expect(mute?.reason == "vda is another disk: it has no serial number, and had the serial number 'SERIAL-1'")
        fixture.engine.endSession(try #require(mute), now: fixture.now)
        try fixture.connect(generation: 4)
        try fixture.turn()
        #expect(fixture.completions() == [1: .ok], "the request waited for its own disk")
    }

    @Test func disksWithoutASerialNumberAreTheSame() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.identifyStatus = 2 }
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        try fixture.connect(generation: 2) { $0.serial = "" }
        #expect(fixture.engine.state == .ready)
    }

    @Test func aDiskThatDoesNotSayWhichItIsGetsNoSession() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.identifiesItself = false }
        #expect(fixture.engine.state == .waiting)
        let deadline = fixture.engine.nextDeadline
        let end = #expect(throws: SessionEnd.self) { try fixture.engine.checkDeadlines(&fixture.outbox, now: deadline) }
        #expect(end == SessionEnd(.handshakeTimeout, "no answer while reading a disk's serial number"))
    }

    @Test func heldRequestsFailAfterTheirLimitAndNotBefore() throws {
        var configuration = EngineFixture.quick
        configuration.holdLimit = 2_000_000_000
        let fixture = try EngineFixture(configuration)
        try fixture.connect()
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        _ = fixture.write(1, 1, at: 0)
        fixture.engine.failOverdueHeld(now: fixture.now + 1_999_999_999)
        #expect(fixture.completions() == [:])
        #expect(fixture.engine.nextDeadline == fixture.now + 2_000_000_000)
        fixture.engine.failOverdueHeld(now: fixture.now + 2_000_000_000)
        #expect(fixture.completions() == [1: .ioError])
    }

    @Test func quarantineFailsEverythingUntilTheNextLife() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 0 }
        _ = fixture.write(1, 1, at: 0)
        try fixture.turn()
        fixture.engine.fail()
        _ = fixture.write(2, 1, at: 0)
        #expect(fixture.completions() == [1: .ioError, 2: .ioError])
        try fixture.connect(generation: 2)
        _ = fixture.write(3, 1, at: 0)
        try fixture.turn()
        #expect(fixture.completions() == [3: .ok])
    }

    @Test func onlyANewerLifeOpensAndOpeningTwiceChangesNothing() throws {
        let fixture = try EngineFixture()
        try fixture.connect(generation: 5)
        #expect((fixture.engine.open(generation: 5)) == true)
        #expect(fixture.engine.state == .ready, "a supervisor that asks again does not end the session")
        #expect((fixture.engine.open(generation: 4)) == false)
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        #expect((fixture.engine.open(generation: 5)) == false, "the life that was lost cannot come back")
        #expect((fixture.engine.open(generation: 6)) == true)
    }
}
