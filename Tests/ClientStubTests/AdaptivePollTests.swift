import Testing

@testable import ClientStub

@Suite("Polling before sleeping")
struct AdaptivePollTests {
    @Test func anIdleStubDoesNotPoll() {
        var poll = AdaptivePoll(limit: 50_000)
        #expect(poll.budget == 0)
        for _ in 0..<10 { poll.slept(500_000_000) }
        #expect(poll.budget == 0)
    }

    @Test func shortSleepsRaiseTheBudgetToTheLimitAndVainLooksLowerIt() {
        var poll = AdaptivePoll(limit: 50_000)
        for _ in 0..<10 { poll.slept(10_000) }
        #expect(poll.budget == 50_000)
        for _ in 0..<10 { poll.missed() }
        #expect(poll.budget == 0)
    }

    @Test func aLimitOfZeroSwitchesItOff() {
        var poll = AdaptivePoll(limit: 0)
        poll.slept(0)
        poll.found()
        #expect(poll.budget == 0)
    }
}

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
}
