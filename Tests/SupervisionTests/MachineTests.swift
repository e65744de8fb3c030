import ControlModel
import DroverConfiguration
import Foundation
import Testing

@testable import Supervision

/// Drives one machine by hand, with a clock of its own.
struct Harness {
    var machine: DDOSMachine
    var now = Moment(monotonic: 1000, wall: Date(timeIntervalSince1970: 1_700_000_000))
    var effects: [DDOSMachine.Effect] = []

    init(_ change: (inout DDOSConfiguration) -> Void = { _ in }, record: MachineRecord = MachineRecord()) {
        var configuration = DDOSConfiguration(name: "nvme0", device: .pci(address: "0000:01:00.0"))
        change(&configuration)
        machine = DDOSMachine(policy: MachinePolicy(configuration), record: record)
    }

    /// Returns the effects but for events, after a step of `after` seconds.
    @discardableResult
    mutating func feed(_ input: DDOSMachine.Input, after seconds: Double = 0) -> [DDOSMachine.Effect] {
        now = now.adding(seconds)
        effects = machine.handle(input, at: now)
        return effects.filter { if case .emit = $0 { false } else { true } }
    }

    var events: [EventKind] { effects.compactMap { if case .emit(let report) = $0 { report.kind } else { nil } } }
    var timer: UInt64 { machine.timer }
    var generation: UInt64 { machine.record.generation }

    /// From stopped, preparing or backing off to ready.
    mutating func bringUp(after seconds: Double = 1) {
        if machine.state == .stopped { feed(.startRequested) }
        feed(.imageReady)
        feed(.stubReady)
        feed(.sessionOpened(generation: generation))
        feed(.virtualMachineStarted(generation: generation), after: seconds / 2)
        feed(.sessionReady(generation: generation, replayed: 0), after: seconds / 2)
    }

    mutating func crash(after seconds: Double = 0, _ cause: FailureCause = .panic) {
        feed(.failed(generation: generation, cause: cause, reason: "test"), after: seconds)
    }
}

@Suite("State machine: starting")
struct MachineStartTests {
    @Test func aStartGoesStepByStep() {
        var h = Harness()
        #expect(h.feed(.startRequested) == [.prepareImage])
        #expect(h.feed(.imageReady) == [.startStub])
        #expect(h.feed(.stubReady) == [.openSession(generation: 1)])
        #expect(h.feed(.sessionOpened(generation: 1)) == [.startVirtualMachine(generation: 1)])
        #expect(h.feed(.virtualMachineStarted(generation: 1)) == [.setTimer(h.timer, seconds: 120)])
        #expect(h.machine.phase == .booting)
        #expect(h.feed(.sessionReady(generation: 1, replayed: 0)) == [.setTimer(h.timer, seconds: 60)])
        #expect(h.machine.phase == .ready)
        #expect(h.events == [.ready])
    }

    @Test func aSessionMayBeQuickerThanTheAnswerOfTheVMsStart() {
        var h = Harness()
        h.feed(.startRequested)
        h.feed(.imageReady)
        h.feed(.stubReady)
        h.feed(.sessionOpened(generation: 1))
        h.feed(.sessionReady(generation: 1, replayed: 0))
        #expect(h.machine.phase == .ready)
        #expect(h.feed(.virtualMachineStarted(generation: 1)) == [])
        #expect(h.machine.phase == .ready)
    }

    @Test func aBootThatFailsSaysWhatMayBeWhyAndALaterFailureDoesNot() {
        var h = Harness()
        h.machine.bootHint = "it has little memory"
        h.bringUp()
        h.feed(.failed(generation: 1, cause: .panic, reason: "panicked"))
        #expect(h.machine.record.failures.last?.reason == "panicked")
        h.feed(.fenced(generation: 1))
        h.feed(.imageReady)
        h.feed(.stubReady)
        h.feed(.sessionOpened(generation: 2))
        h.feed(.virtualMachineStarted(generation: 2))
        h.feed(.timerFired(h.timer), after: 120)
        #expect(h.machine.record.failures.last?.reason == "no session 2 min after the VM's start; it has little memory")
    }

    @Test func startingWhatRunsChangesNothing() {
        var h = Harness()
        h.bringUp()
        #expect(h.feed(.startRequested) == [])
        #expect(h.machine.phase == .ready)
    }

    @Test func noSessionWithinTheBootDeadlineIsAFailure() {
        var h = Harness()
        h.feed(.startRequested)
        h.feed(.imageReady)
        h.feed(.stubReady)
        h.feed(.sessionOpened(generation: 1))
        h.feed(.virtualMachineStarted(generation: 1))
        let effects = h.feed(.timerFired(h.timer), after: 120)
        #expect(effects.count == 1)
        #expect(h.machine.phase == .fencing)
        #expect(h.machine.record.failures.map(\.cause) == [.bootDeadline])
    }

    @Test func aStartThatFailsIsFencedToo() {
        for steps in 0...3 {
            var h = Harness()
            h.feed(.startRequested)
            if steps > 0 { h.feed(.imageReady) }
            if steps > 1 { h.feed(.stubReady) }
            if steps > 2 { h.feed(.sessionOpened(generation: 1)) }
            #expect(h.feed(.startFailed(generation: 1, reason: "no")) == [.fence(generation: 1, reason: "no")])
            #expect(h.events == [.failed])
            #expect(h.machine.phase == .fencing)
        }
    }

    @Test func answersOfAnOlderLifeCountForNothing() {
        var h = Harness()
        h.bringUp()
        h.crash()
        h.feed(.fenced(generation: 1))
        #expect(h.generation == 2)
        let before = h.machine
        for input: DDOSMachine.Input in [
            .sessionOpened(generation: 1), .virtualMachineStarted(generation: 1), .startFailed(generation: 1, reason: ""),
            .sessionReady(generation: 1, replayed: 3), .failed(generation: 1, cause: .panic, reason: ""), .fenced(generation: 1),
            .fenceFailed(generation: 1, reason: ""), .timerFired(h.timer - 1), .timerFired(h.timer + 1),
        ] {
            #expect(h.feed(input) == [])
            #expect(h.machine == before)
        }
    }
}

@Suite("State machine: failures")
struct MachineFailureTests {
    @Test func theFirstRestartIsImmediateAfterTheFence() {
        var h = Harness()
        h.bringUp()
        h.feed(.failed(generation: 1, cause: .vmmGone, reason: "gone"))
        #expect(h.events == [.failed])
        #expect(h.machine.state == .fencing(.recover))
        #expect(h.feed(.fenced(generation: 1), after: 0.2) == [.prepareImage])
        #expect(h.events == [.fenced])
        #expect(h.generation == 2)
    }

    @Test func nothingStartsBeforeTheOldVMIsGone() {
        var h = Harness()
        h.bringUp()
        h.crash()
        for input: DDOSMachine.Input in [
            .startRequested, .imageReady, .stubReady, .sessionOpened(generation: 1), .sessionReady(generation: 1, replayed: 0),
            .restartRequested,
        ] {
            #expect(h.feed(input) == [])
            #expect(h.machine.phase == .fencing)
        }
        #expect(h.feed(.fenceFailed(generation: 1, reason: "busy")) == [.setTimer(h.timer, seconds: 1)])
        #expect(h.events == [.warning])
        #expect(h.feed(.timerFired(h.timer), after: 1) == [.fence(generation: 1, reason: "trying again")])
        #expect(h.machine.phase == .fencing)
    }

    @Test func theRecoveryIsMeasuredFromTheFirstNotice() throws {
        var h = Harness()
        h.bringUp()
        let noticed = h.now.adding(5)
        h.crash(after: 5)
        h.feed(.fenced(generation: 1), after: 0.25)
        h.feed(.imageReady)
        h.feed(.stubReady)
        h.feed(.sessionOpened(generation: 2))
        h.feed(.virtualMachineStarted(generation: 2), after: 0.5)
        h.feed(.sessionReady(generation: 2, replayed: 32), after: 4)
        let recovery = try #require(h.machine.record.recoveries.last)
        #expect(recovery.noticed == noticed.wall)
        #expect(recovery.generation == 1)
        #expect(recovery.cause == .panic)
        #expect(abs(recovery.fencedSeconds - 0.25) < 1e-6)
        #expect(abs(recovery.startedSeconds - 0.75) < 1e-6)
        #expect(abs(recovery.readySeconds - 4.75) < 1e-6)
        #expect(recovery.replayed == 32)
        #expect(abs(h.machine.record.lostSeconds - 4.75) < 1e-6)
        #expect(h.events == [.recovered])
        #expect(h.machine.record.restarts == 1)
    }

    @Test func aFailureOnTheWayToRecoveryProlongsTheSameOutage() throws {
        var h = Harness()
        h.bringUp()
        h.crash(.vmmGone)
        h.feed(.fenced(generation: 1), after: 1)
        h.feed(.startFailed(generation: 2, reason: "no memory"), after: 1)
        h.feed(.fenced(generation: 2), after: 1)
        #expect(h.machine.phase == .backingOff)
        h.feed(.timerFired(h.timer), after: 0.2)
        h.bringUp(after: 2)
        let recovery = try #require(h.machine.record.recoveries.last)
        #expect(h.machine.record.recoveries.count == 1)
        #expect(recovery.cause == .vmmGone)
        #expect(abs(recovery.readySeconds - 5.2) < 1e-6)
        #expect(abs(recovery.backoffSeconds - 0.2) < 1e-6)
    }

    @Test func theBackoffDoublesUpToItsCap() {
        let waits = (0...10).map { DDOSMachine.backoff(minimum: 0.2, maximum: 30, failuresInARow: $0) }
        #expect(waits == [0, 0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30])
        #expect(DDOSMachine.backoff(minimum: 0.2, maximum: 30, failuresInARow: .max) == 30)
        #expect(DDOSMachine.backoff(minimum: 5, maximum: 5, failuresInARow: 2) == 5)
    }

    @Test func stableTimeResetsTheBackoff() {
        var h = Harness { $0.restart.quarantine = nil }
        h.bringUp()
        h.crash()
        h.feed(.fenced(generation: h.generation))
        h.bringUp()
        h.crash()
        h.feed(.fenced(generation: h.generation))
        #expect(h.machine.phase == .backingOff)
        h.feed(.timerFired(h.timer))
        h.bringUp()
        h.feed(.timerFired(h.timer), after: 60)
        h.crash()
        #expect(h.feed(.fenced(generation: h.generation)) == [.prepareImage])
    }

    @Test func tooManyFailuresWithinTheWindowQuarantine() {
        var h = Harness { $0.restart.quarantine = .init(failures: 3, within: .seconds(100)) }
        h.bringUp()
        for count in 1...3 {
            h.crash(after: 10)
            h.feed(.fenced(generation: h.generation))
            if count == 3 { break }
            if h.machine.phase == .backingOff { h.feed(.timerFired(h.timer)) }
            h.bringUp()
        }
        #expect(h.machine.phase == .quarantined)
        #expect(h.machine.record.intent == .quarantined)
        #expect(h.events.contains(.quarantined))
        #expect(h.effects.contains(.failRequests(reason: h.machine.quarantineReason)))
    }

    @Test func failuresOutsideTheWindowDoNotQuarantine() {
        var h = Harness { $0.restart.quarantine = .init(failures: 3, within: .seconds(100)) }
        h.bringUp()
        for _ in 1...10 {
            h.crash(after: 60)
            h.feed(.fenced(generation: h.generation))
            #expect(h.machine.phase != .quarantined)
            if h.machine.phase == .backingOff { h.feed(.timerFired(h.timer)) }
            h.bringUp()
        }
    }

    @Test func quarantineWithHoldLeavesRequestsWaiting() {
        var h = Harness {
            $0.restart.quarantine = .init(failures: 1, within: .seconds(100))
            $0.restart.onQuarantine = .hold
        }
        h.bringUp()
        h.crash()
        #expect(h.feed(.fenced(generation: 1)) == [])
        #expect(h.machine.phase == .quarantined)
        #expect(h.feed(.stubLost(reason: "killed")) == [.startStub])
        #expect(h.feed(.stubReady) == [])
    }

    @Test func aQuarantinedDDOSStartsAnewOnRequest() {
        var h = Harness { $0.restart.quarantine = .init(failures: 1, within: .seconds(100)) }
        h.bringUp()
        h.crash()
        h.feed(.fenced(generation: 1))
        #expect(h.feed(.startRequested) == [.prepareImage])
        h.bringUp()
        #expect(h.machine.phase == .ready)
        #expect(h.machine.record.intent == .run)
    }

    @Test func aLostStubIsFencedAndReplaced() {
        var h = Harness()
        h.bringUp()
        #expect(h.feed(.stubLost(reason: "killed")) == [.fence(generation: 1, reason: "the client stub is gone: killed")])
        #expect(h.events == [.stubLost, .failed])
        #expect(h.feed(.fenced(generation: 1)) == [.prepareImage])
        #expect(h.feed(.imageReady) == [.startStub])
    }
}
