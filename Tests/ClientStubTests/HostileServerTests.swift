import StubControl
import Testing
import VirtioBlock
import VirtioMessage
import Virtqueue

@testable import ClientStub

@Suite("A DD/OS that lies")
struct HostileServerTests {
    private func violation(_ lie: (EngineFixture) throws -> Void) throws -> String {
        let fixture = try EngineFixture()
        try fixture.connect()
        _ = fixture.read(1, at: 0)
        let end = #expect(throws: SessionEnd.self) { try lie(fixture) }
        #expect(end?.loss == .protocolViolation)
        #expect(fixture.completions() == [:], "a lie completes nothing")
        // The session ends, the request is kept, and the next life serves it.
        fixture.engine.endSession(try #require(end), now: fixture.now)
        #expect(fixture.engine.held == 1)
        try fixture.connect(generation: 2)
        try fixture.turn()
        #expect(fixture.completions() == [1: .ok])
        return end?.reason ?? ""
    }

    @Test func aUsedIdThatIsNoHeadEndsTheSession() throws {
        let reason = try violation { fixture in
            fixture.server.tamper = { $0.head = 31 }
            try fixture.turn()
        }
        #expect(reason.contains("not in flight"))
        _ = try violation { fixture in
            fixture.server.tamper = { $0.head = 40_000 }
            try fixture.turn()
        }
    }

    @Test func aHugeUsedLengthEndsTheSession() throws {
        _ = try violation { fixture in
            fixture.server.tamper = { $0.length = .max }
            try fixture.turn()
        }
    }

    @Test func aReadThatWroteLessThanAskedIsNotDone() throws {
        let reason = try violation { fixture in
            fixture.server.tamper = { $0.length = 1 }
            try fixture.turn()
        }
        #expect(reason.contains("4096"))
    }

    @Test func aStatusThatDoesNotExistEndsTheSession() throws {
        for status: UInt8 in [3, 77, 0xFF] {
            _ = try violation { fixture in
                fixture.server.tamper = { $0.status = status }
                try fixture.turn()
            }
        }
    }

    @Test func anAnswerOnTheRingThatNobodyAskedForEndsTheSession() throws {
        _ = try violation { fixture in
            fixture.server.patience = 0
            try fixture.turn()
            fixture.server.forge(head: 7, length: 1)
            try fixture.turn()
        }
    }

    @Test func messagesThatMustNotBeEndTheSession() throws {
        let lies: [(inout MessageOutbox) throws -> Void] = [
            { try $0.pong(token: 3, 4) },
            { try $0.driverFeaturesSet(device: 0, token: 9) },
            { try $0.deviceStatusSet(device: 0, token: 9, [.driverOK]) },
            { try $0.eventUsed(device: 0, queue: 1) },
            { try $0.eventUsed(device: 5, queue: 0) },
            { try $0.eventConfig(device: 0, status: [.driverOK], generation: 2) },
            { try $0.eventDevice(number: 0, .removed) },
            { try $0.pool(pageSize: 4096, isFile: true, extents: [PoolExtent(address: 0, length: 4096)].span) },
        ]
        for lie in lies {
            _ = try violation { fixture in
                try fixture.server.send(lie)
                try fixture.exchange()
            }
        }
    }

    @Test func aHandshakeWithWrongAnswersNeverTraps() throws {
        // Every prepared lie ends in an error, never in a session.
        let lies: [(FakeServer) -> Void] = [
            { $0.blockSize = 3 }, { $0.blockSize = 0 }, { $0.blockSize = 1 << 31 },
            { $0.features.remove(.version1) }, { $0.queueSize = 0 }, { $0.queueSize = 1 },
        ]
        for (index, lie) in lies.enumerated() {
            let fixture = try EngineFixture()
            #expect(throws: SessionEnd.self, "lie \(index)") { try fixture.connect(lie) }
            #expect(fixture.engine.state == .waiting)
        }
        let fixture = try EngineFixture()
        #expect(throws: SessionEnd.self) { try fixture.connect(poolBytes: 8192) }
    }

    @Test func randomScribblingOnThePoolNeverTraps() throws {
        var generator = SystemRandomNumberGenerator()
        for round in 0..<300 {
            let fixture = try EngineFixture()
            try fixture.connect()
            for tag in 0..<8 { _ = fixture.read(UInt64(tag), at: UInt64(tag) * 4096) }
            do {
                for _ in 0..<4 {
                    try fixture.exchange()
                    for _ in 0..<64 {
                        // The queues are at the start of the pool.
                        let address = UInt64.random(in: 0..<16384, using: &generator)
                        _ = fixture.server.memory.store(UInt16.random(in: 0...UInt16.max, using: &generator), at: address)
                    }
                    _ = try fixture.engine.takeUsed()
                }
            } catch let end as SessionEnd {
                #expect(end.loss == .protocolViolation, "round \(round)")
            }
            #expect(fixture.engine.inFlight + fixture.engine.held <= 8)
        }
    }
}
