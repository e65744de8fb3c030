import Testing

@testable import ClientStub

@Suite("Liveness")
struct LivenessTests {
    @Test func onlyTheAnswerToThePingThatIsOutCounts() {
        var liveness = Liveness()
        liveness.begin(at: 100)
        #expect((liveness.answered(token: 1, data: 1, at: 110)) == false)
        let data = liveness.nextData()
        liveness.sent(token: 5, data: data, at: 200)
        #expect(liveness.deadline(interval: 50, timeout: 1000) == 1200)
        #expect((liveness.answered(token: 4, data: data, at: 210)) == false)
        #expect((liveness.answered(token: 5, data: data, at: 300)) == true)
        #expect((liveness.answered(token: 5, data: data, at: 310)) == false, "an answer counts once")
        #expect(liveness.deadline(interval: 50, timeout: 1000) == 350)
    }

    /// On a busy machine a DD/OS that works may be late with its answer.
    @Test func whatIsHeardWhileAPingIsOutPutsTheDeadlineOff() {
        var liveness = Liveness()
        liveness.begin(at: 100)
        liveness.sent(token: 5, data: liveness.nextData(), at: 200)
        liveness.heard(at: 700)
        #expect(liveness.deadline(interval: 50, timeout: 1000) == 1700)
        #expect(liveness.deadline(interval: 50, timeout: .max) == .max)
    }
}
