import ControlModel
import Testing

@testable import Supervision

@Suite struct StartClockTests {
    static let line = "boot: init 500 ms, modules 520 ms, devices 600 ms, connected 650 ms"

    private func clock(_ line: String = line) -> StartClock {
        var clock = StartClock(generation: 7, now: 100)
        clock.imageReady(at: 100.25)
        clock.launching(at: 100.5)
        clock.heard(untrustedLine: "modules: 0 of 0", at: 101.6)
        clock.heard(untrustedLine: line, at: 101.75)
        return clock
    }

    private func expect(_ timeline: StartTimeline?, _ steps: [Double]) {
        guard let timeline else {
            Issue.record("no timeline")
            return
        }
        for (step, expected) in zip(timeline.steps, steps) { #expect(abs(step.seconds - expected) < 1e-9, "\(step.name)") }
    }

    @Test func theStepsFollowEachOtherWithoutGaps() {
        let timeline = clock().timeline(readyAt: 101.875)
        expect(timeline, [0.25, 0.25, 0.6, 0.5, 0.02, 0.08, 0.05, 0.125])
        #expect(abs((timeline?.total ?? 0) - 1.875) < 1e-9)
        #expect(timeline?.generation == 7)
    }

    @Test(arguments: [
        "boot: init 4000000000 ms, modules 0 ms, devices 9 ms, connected 0 ms",
        "boot: init 1 ms, modules 4000000000 ms, devices 4000000000 ms, connected 4000000000 ms",
    ])
    func aGuestThatLiesMakesNoStepNegativeAndNoStartLonger(_ line: String) throws {
        let timeline = try #require(clock(line).timeline(readyAt: 101.875))
        for step in timeline.steps { #expect(step.seconds >= 0, "\(step.name)") }
        #expect(abs(timeline.total - 1.875) < 1e-9)
    }

    @Test(arguments: [
        "boot: init -1 ms, modules 1 ms, devices 1 ms, connected 1 ms", "boot: init 1 ms", "boot: ", "", "boot: init x ms, modules",
        "boot: init 99999999999999999999 ms, modules 1 ms, devices 1 ms, connected 1 ms",
    ])
    func anyOtherLineSaysNothing(_ line: String) {
        #expect(clock(line).timeline(readyAt: 102) == nil)
    }

    @Test func whatHappenedBeforeTheLaunchIsOfNoLifeOfThisOne() {
        var clock = StartClock(generation: 1, now: 0)
        clock.heard(untrustedLine: Self.line, at: 1)
        clock.imageReady(at: 2)
        clock.launching(at: 3)
        #expect(clock.timeline(readyAt: 4) == nil)
    }
}
