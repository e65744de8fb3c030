import StubControl
import Testing
import VirtioBlock
import VirtioMessage

@testable import ClientStub

@Suite("Sessions")
struct SessionTests {
    @Test func aDiskIsOfferedAndServed() throws {
        let fixture = try EngineFixture()
        #expect((fixture.engine.exportsKnown) == false)
        try fixture.connect()
        #expect(fixture.engine.state == .ready)
        #expect(fixture.engine.exports.map(\.name) == ["vda"])
        #expect(fixture.engine.exports[0].size == 1 << 20)

        let first = try #require(fixture.write(1, 0xAB, at: 8192))
        let second = try #require(fixture.write(2, 0xCD, at: 0, bytes: 65536))
        try fixture.turn()
        #expect(fixture.completions() == [1: .ok, 2: .ok])
        fixture.engine.release(first)
        fixture.engine.release(second)
        let back = try #require(fixture.read(3, at: 8192))
        try fixture.turn()
        #expect(fixture.completions() == [3: .ok])
        #expect(fixture.engine.pointer(of: back).allSatisfy { $0 == 0xCD })
        fixture.engine.release(back)
        #expect(fixture.server.doorbells >= 1)
        #expect(fixture.engine.counters.bytesWritten == 4096 + 65536)
    }

    @Test func aTurnRingsOneDoorbell() throws {
        let fixture = try EngineFixture()
        try fixture.connect()
        for tag in 0..<16 { _ = fixture.write(UInt64(tag), 1, at: UInt64(tag) * 4096) }
        try fixture.exchange()
        #expect(fixture.server.doorbells == 1)
        #expect(fixture.engine.counters.doorbellsSent == 1)
    }

    @Test func forcedUnitAccessIsAWriteAndThenAFlush() throws {
        let fixture = try EngineFixture()
        try fixture.connect()
        _ = fixture.write(9, 1, at: 0, fua: true)
        try fixture.turn()
        #expect(fixture.completions() == [:], "the flush is not done yet")
        try fixture.turn()
        #expect(fixture.completions() == [9: .ok])
        #expect(fixture.server.served.map(\.operation) == [.write, .flush])
    }

    @Test func moreThanTheQueueTakesIsHeldAndSentLater() throws {
        let fixture = try EngineFixture()
        try fixture.connect()
        for tag in 0..<100 {
            fixture.engine.submit(export: 0, operation: .flush, offset: 0, length: 0, fua: false, buffer: nil, tag: UInt64(tag))
        }
        #expect(fixture.engine.inFlight == 32)
        #expect(fixture.engine.held == 68)
        for _ in 0..<4 { try fixture.turn() }
        #expect(fixture.completions().count == 100)
    }

    @Test func badRequestsNeverReachTheDisk() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.features.insert(.readOnly) }
        let buffer = try #require(fixture.engine.allocate(bytes: 4096) as Optional)
        let engineRequests: [(BlockOperation, UInt64, UInt32, Int, BlockStatus)] = [
            (.read, 1 << 20, 512, 0, .invalid), (.read, 100, 512, 0, .invalid), (.read, 0, 100, 0, .invalid),
            (.read, 0, 0, 0, .invalid), (.read, UInt64.max - 511, 1024, 0, .invalid), (.read, 0, 8192, 0, .invalid),
            (.read, 0, 512, 3, .invalid), (.write, 0, 512, 0, .readOnly), (.discard, 0, 512, 0, .readOnly),
        ]
        for (index, request) in engineRequests.enumerated() {
            fixture.engine.submit(
                export: request.3, operation: request.0, offset: request.1, length: request.2, fua: false, buffer: buffer,
                tag: UInt64(index))
            #expect(fixture.completions() == [UInt64(index): request.4], "\(request)")
        }
        #expect(fixture.engine.inFlight == 0)
    }

    @Test func anUnansweredHandshakeEnds() throws {
        let fixture = try EngineFixture()
        _ = fixture.engine.open(generation: 1)
        fixture.engine.beginSession(now: fixture.now)
        #expect(fixture.engine.nextDeadline == fixture.now + fixture.engine.configuration.stepTimeout)
        try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now + 1)
        let end = #expect(throws: SessionEnd.self) {
            try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now + 5_000_000_000)
        }
        #expect(end?.loss == .handshakeTimeout)
    }

    @Test func aSilentServerIsPingedAndThenLost() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.answersPings = false }
        // Nothing is in flight, so it is left in peace for longer.
        fixture.now += 600_000_000
        try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now)
        #expect((fixture.outbox.isEmpty) == true)
        fixture.now += fixture.engine.configuration.restingPingInterval
        try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now)
        #expect((fixture.outbox.isEmpty) == false)
        try fixture.exchange()
        #expect(fixture.engine.nextDeadline == fixture.now + 3_000_000_000)
        let end = #expect(throws: SessionEnd.self) {
            try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now + 3_000_000_000)
        }
        #expect(end?.loss == .pingTimeout)
    }

    @Test func aRequestThatTakesTooLongEndsTheSession() throws {
        let fixture = try EngineFixture()
        try fixture.connect { $0.patience = 0 }
        _ = fixture.write(1, 1, at: 4096)
        try fixture.turn()
        // The server answers pings all the while: it is the device that hangs.
        for _ in 0..<19 {
            fixture.now += 500_000_000
            try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now)
            try fixture.exchange()
        }
        fixture.now += 500_000_000
        let end = #expect(throws: SessionEnd.self) { try fixture.engine.checkDeadlines(&fixture.outbox, now: fixture.now) }
        #expect(end?.loss == .requestDeadline)
        #expect(end?.reason == "a write at byte 4096 of vda was not finished within 10 s")
    }
}
