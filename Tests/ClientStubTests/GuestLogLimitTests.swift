import StubControl
import Testing
import VirtioMessage

@testable import ClientStub

@Suite("Guest's log lines")
struct GuestLogLimitTests {
    @Test func aBurstPassesAndThenTwentyInASecond() {
        var limit = GuestLogLimit()
        let start: UInt64 = 5_000_000_000
        #expect((0..<1000).filter { _ in limit.admits(at: start) }.count == 64)
        #expect(limit.omission() == "936 lines of the guest's log left out: it writes too fast")
        #expect(limit.omission() == nil)
        // Ten seconds of a line each millisecond.
        #expect((0..<10_000).filter { limit.admits(at: start + $0 * 1_000_000) }.count == 199)
        #expect((0..<1000).filter { _ in limit.admits(at: start + 60_000_000_000) }.count == 64, "the bucket is full again, and no fuller")
    }

    @Test func aFloodOfLinesIsBoundedAndSaysWhatIsMissing() throws {
        let fixture = try EngineFixture()
        try fixture.connect()
        while fixture.engine.nextEvent() != nil {}
        let text = Array("a line".utf8)
        for _ in 0..<50 {
            for _ in 0..<20 { try fixture.server.send { try $0.log(text.span) } }
            try fixture.exchange()
        }
        fixture.engine.endSession(SessionEnd(.hangUp, "killed"), now: fixture.now)
        var lines: [String] = []
        var ended = false
        while let event = fixture.engine.nextEvent() {
            if case .guestLog(let line) = event { lines.append(line) }
            if case .sessionLost = event { ended = true }
        }
        #expect(lines.count == 65)
        #expect(lines.last == "936 lines of the guest's log left out: it writes too fast")
        #expect(ended, "other events are not left out")
    }
}
