import ControlModel
import DroverConfiguration
import Foundation
import Testing

@testable import Supervision

@Suite("State machine: requests and adoption")
struct MachineRequestTests {
    @Test func aStopEndsTheStubThenTheVM() {
        var h = Harness()
        h.bringUp()
        #expect(h.feed(.stopRequested) == [.stopStub])
        #expect(h.feed(.stubStopped) == [.fence(generation: 1, reason: "stop requested")])
        #expect(h.machine.phase == .stopping)
        #expect(h.feed(.fenced(generation: 1)) == [])
        #expect(h.machine.phase == .stopped)
        #expect(h.events == [.stopped])
        #expect(h.machine.record.intent == .stopped)
        #expect(h.machine.record.restarts == 0)
    }

    @Test func aStopWorksInEveryPhase() {
        for steps in 0...9 {
            var h = Harness { $0.restart.quarantine = .init(failures: 2, within: .seconds(100)) }
            let inputs: [DDOSMachine.Input] = [
                .startRequested, .imageReady, .stubReady, .sessionOpened(generation: 1), .virtualMachineStarted(generation: 1),
                .sessionReady(generation: 1, replayed: 0), .failed(generation: 1, cause: .hang, reason: ""), .fenced(generation: 1),
                .startFailed(generation: 2, reason: ""), .fenced(generation: 2),
            ]
            for input in inputs.prefix(steps + 1) { h.feed(input) }
            h.feed(.stopRequested)
            // Whatever is asked for is answered, until nothing is.
            for _ in 0..<6 {
                for effect in h.effects {
                    switch effect {
                    case .stopStub: h.feed(.stubStopped)
                    case .fence(let generation, _): h.feed(.fenced(generation: generation))
                    default: break
                    }
                }
                if h.machine.state == .fencing(.stop) { h.feed(.fenced(generation: h.generation)) }
            }
            #expect(h.machine.phase == .stopped, "after \(steps + 1) steps")
        }
    }

    @Test func aRequestedRestartIsNoFailure() {
        var h = Harness()
        h.bringUp()
        #expect(h.feed(.restartRequested) == [.fence(generation: 1, reason: "restart requested")])
        #expect(h.feed(.fenced(generation: 1)) == [.prepareImage])
        h.bringUp()
        #expect(h.machine.phase == .ready)
        #expect(h.generation == 2)
        #expect(h.machine.record.restarts == 0)
        #expect(h.machine.record.failures.isEmpty)
        #expect(h.events == [.ready])
    }

    @Test func aStartWhileStoppingStartsAfterwards() {
        var h = Harness()
        h.bringUp()
        h.feed(.stopRequested)
        #expect(h.feed(.startRequested) == [])
        h.feed(.stubStopped)
        #expect(h.feed(.fenced(generation: 1)) == [.prepareImage])
        #expect(h.machine.record.intent == .run)
    }

    @Test func aRestartCutsTheBackoffShort() {
        var h = Harness()
        h.bringUp()
        h.crash()
        h.feed(.fenced(generation: 1))
        h.feed(.startFailed(generation: 2, reason: ""))
        h.feed(.fenced(generation: 2))
        #expect(h.machine.phase == .backingOff)
        #expect(h.feed(.restartRequested) == [.prepareImage])
    }

    private func record(_ change: (inout MachineRecord) -> Void = { _ in }) -> MachineRecord {
        var record = MachineRecord()
        record.generation = 4
        record.readySince = Moment(monotonic: 900, wall: Date(timeIntervalSince1970: 0))
        change(&record)
        return record
    }

    @Test func whatRunsIsAdoptedAndNotRestarted() {
        var h = Harness(record: record())
        #expect(h.feed(.adopt(.ready)) == [.setTimer(h.timer, seconds: 60)])
        #expect(h.events == [.adopted])
        #expect(h.machine.phase == .ready)
        #expect(h.generation == 4)
        #expect(h.machine.record.restarts == 0)
    }

    @Test func whatBootsIsAdoptedWithADeadline() {
        var h = Harness(record: record { $0.readySince = nil })
        #expect(h.feed(.adopt(.booting)) == [.setTimer(h.timer, seconds: 120)])
        h.feed(.sessionReady(generation: 4, replayed: 0))
        #expect(h.machine.phase == .ready)
    }

    @Test func whatDiedUnwatchedIsFencedThenReplaced() {
        for found: DDOSMachine.Found in [.nothing, .broken(cause: .diedUnwatched, reason: "gone")] {
            var h = Harness(record: record())
            #expect(h.feed(.adopt(found)).count == 1)
            #expect(h.machine.state == .fencing(.recover))
            #expect(h.feed(.fenced(generation: 4)) == [.prepareImage])
            #expect(h.generation == 5)
        }
    }

    @Test func aRecoveryThatTheOldSupervisorBeganGoesOnWithoutANewFailure() {
        var h = Harness(record: record { $0.readySince = nil })
        h.feed(.adopt(.broken(cause: .diedUnwatched, reason: "gone")))
        #expect(h.machine.record.failures.isEmpty)
        #expect(h.feed(.fenced(generation: 4)) == [.prepareImage])
    }

    @Test func whatWasStoppedStaysStopped() {
        var h = Harness(record: record { $0.intent = .stopped })
        #expect(h.feed(.adopt(.nothing)) == [])
        #expect(h.machine.phase == .stopped)
    }

    @Test func anInterruptedStopIsCompleted() {
        var h = Harness(record: record { $0.intent = .stopped })
        #expect(h.feed(.adopt(.ready)) == [.stopStub])
        #expect(h.feed(.stubStopped).count == 1)
        h.feed(.fenced(generation: 4))
        #expect(h.machine.phase == .stopped)
    }

    @Test func quarantineOutlivesTheSupervisor() {
        var h = Harness(record: record { $0.intent = .quarantined })
        h.feed(.adopt(.broken(cause: .diedUnwatched, reason: "")))
        #expect(h.machine.phase == .quarantined)
    }
}

@Suite("State machine: every order of events")
struct MachinePropertyTests {
    /// A world that answers effects, late or never or wrongly, while people and faults interfere. However they are mixed: two
    /// VMs never exist at once, a VM starts only for a session that was opened for its generation, generations grow, and in the
    /// end a start request leads to ready.
    @Test(arguments: 0..<400)
    func twoLivesNeverOverlap(_ seed: Int) {
        var random = SplitMix(state: UInt64(seed) &* 0x9e37_79b9_7f4a_7c15 &+ 1)
        var h = Harness { $0.restart.quarantine = seed % 2 == 0 ? .init(failures: 4, within: .seconds(50)) : nil }
        var pending: [DDOSMachine.Effect] = []
        var alive: UInt64?
        var opened: UInt64 = 0
        var started: UInt64 = 0

        func take(_ effects: [DDOSMachine.Effect]) {
            for effect in effects {
                switch effect {
                case .startVirtualMachine(let generation):
                    #expect(alive == nil, "a VM starts while life \(alive ?? 0) was not fenced")
                    #expect(generation == opened)
                    #expect(generation > started)
                    alive = generation
                    started = generation
                case .openSession(let generation):
                    #expect(alive == nil, "a session opens while the old VM may live")
                    #expect(generation > opened)
                    opened = generation
                default: break
                }
                pending.append(effect)
            }
        }

        func answer(_ effect: DDOSMachine.Effect, well: Bool) {
            switch effect {
            case .prepareImage: take(h.feed(well ? .imageReady : .startFailed(generation: h.generation, reason: "image")))
            case .startStub: take(h.feed(well ? .stubReady : .startFailed(generation: h.generation, reason: "stub")))
            case .openSession(let g): take(h.feed(well ? .sessionOpened(generation: g) : .startFailed(generation: g, reason: "open")))
            case .startVirtualMachine(let g):
                take(h.feed(well ? .virtualMachineStarted(generation: g) : .startFailed(generation: g, reason: "vm")))
                if well { take(h.feed(.sessionReady(generation: g, replayed: 1), after: 1)) }
            case .fence(let g, _):
                if well { alive = nil }
                take(h.feed(well ? .fenced(generation: g) : .fenceFailed(generation: g, reason: "busy")))
            case .stopStub: take(h.feed(.stubStopped))
            case .setTimer(let number, let seconds): take(h.feed(.timerFired(number), after: seconds))
            case .failRequests, .emit: break
            }
        }

        /// Operations are carried out one after the other; timers fire whenever they like.
        func step(well: Bool) {
            guard !pending.isEmpty else { return }
            let timers = pending.indices.filter { if case .setTimer = pending[$0] { true } else { false } }
            let first = pending.indices.first { !timers.contains($0) }
            let choice = (random.next() % 3 == 0 ? timers.randomElement(using: &random) : nil) ?? first ?? timers.first
            if let choice { answer(pending.remove(at: choice), well: well) }
        }

        for _ in 0..<200 {
            switch random.next() % 16 {
            case 0: take(h.feed(.startRequested))
            case 1: take(h.feed(.stopRequested))
            case 2: take(h.feed(.restartRequested))
            case 3: take(h.feed(.stubLost(reason: "killed"), after: 1))
            case 4: take(h.feed(.failed(generation: h.generation, cause: .panic, reason: "panic"), after: 1))
            case 5: take(h.feed(.failed(generation: h.generation &- 1, cause: .vmmGone, reason: "late")))
            default: step(well: random.next() % 8 != 0)
            }
        }
        // A quiet world: it must come up.
        for _ in 0..<60 where !pending.isEmpty && h.machine.phase != .ready { step(well: true) }
        take(h.feed(.startRequested))
        for _ in 0..<200 where h.machine.phase != .ready {
            if pending.isEmpty { take(h.feed(.startRequested)) }
            step(well: true)
        }
        #expect(h.machine.phase == .ready, "seed \(seed): \(h.machine.state)")
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
