import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import StubControl
import Testing

@testable import Supervision

@Suite("When a client stub is kept, and when it is replaced", .serialized)
struct StubKeepingTests {
    /// A supervisor that found the DD/OS running, with another request deadline in its configuration.
    private func adopted(_ world: FakeWorld) async -> DDOSRunner {
        let first = world.runner()
        await first.begin(running: [])
        #expect(await world.bringUp(first))
        await first.leave()
        let second = world.runner { $0.requests.deadline = .seconds(77) }
        await second.begin(running: world.machines.current)
        #expect(await second.phase == .ready)
        return second
    }

    @Test func aRestartPutsAChangedConfigurationIntoForce() async throws {
        try await FakeWorld.with { world in
            let runner = await adopted(world)
            #expect(!world.stubs.arguments.contains("77.0"))
            await runner.send(.restartRequested)
            #expect(await world.bringUp(runner, generation: 2))
            #expect(world.diary.all.suffix(6) == ["close", "destroy VM", "shutdown", "start stub", "open 2", "start VM"])
            #expect(world.stubs.arguments.contains("77.0"))
            // The next restart has nothing to change.
            await runner.send(.restartRequested)
            #expect(await world.bringUp(runner, generation: 3))
            #expect(world.diary.all.suffix(4) == ["close", "destroy VM", "open 3", "start VM"])
        }
    }

    @Test func afterAFailureClientsAreSparedAChange() async throws {
        try await FakeWorld.with { world in
            let runner = await adopted(world)
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            #expect(await world.bringUp(runner, generation: 2))
            #expect(world.diary.all.filter { $0 == "start stub" }.count == 1)
        }
    }

    @Test func aStubThatIsLateKeepsItsClients() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            #expect(await world.bringUp(runner))
            world.stubs.dawdle(3.5)
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            #expect(await world.bringUp(runner, generation: 2))
            #expect(world.diary.all.filter { $0 == "start stub" }.count == 1)
            #expect(world.stubs.process?.isRunning == true)
        }
    }

    @Test func aStubThatStaysSilentIsReplaced() async throws {
        try await FakeWorld.with(stubPatience: 0.5) { world in
            let runner = world.runner()
            await runner.begin(running: [])
            #expect(await world.bringUp(runner))
            world.stubs.dawdle(4)
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            #expect(await world.bringUp(runner, generation: 2))
            #expect(world.diary.all.filter { $0 == "start stub" }.count == 2)
        }
    }

    @Test func lateNewsOfAnEarlierLifeDoesNotHideTheEndOfThisOne() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner { $0.restart.backoffMinimum = .milliseconds(10) }
            await runner.begin(running: [])
            #expect(await world.bringUp(runner))
            world.machines.duringNextStart { spec in
                world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "late"))
                world.stubs.send(.sessionLost(generation: 2, cause: .pingTimeout, reason: "of this life"))
                try? await Task.sleep(for: .milliseconds(200))
            }
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            for _ in 0..<1000 where await runner.summary.generation < 3 { try await Task.sleep(for: .milliseconds(10)) }
            #expect(await world.bringUp(runner, generation: 3))
            #expect(await runner.detail().failures.map(\.reason) == ["test", "of this life"])
        }
    }

    @Test func anOrphansLogsCanBeKept() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            #expect(await world.bringUp(runner))
            await runner.leave()
            try Data("words".utf8).write(to: URL(filePath: world.place.run.consoleLog("d")))
            // Of another libvirt: it must not pass for ended.
            await #expect(throws: SupervisionError.self) { try await Orphan.end("d", place: world.place, running: [], keepingLogs: true) }
            #expect(StateFile.load(world.place.run.state("d")) != nil)
            #expect(try await Orphan.end("d", place: world.place, running: world.machines.current, keepingLogs: true))
            #expect(StateFile.load(world.place.run.state("d")) == nil)
            #expect(FileManager.default.fileExists(atPath: world.place.run.consoleLog("d")))
            #expect(world.machines.current.isEmpty && world.stubs.process?.isRunning == false)
        }
    }

    @Test func aDiskThatFailsIsNamedWithWhatToDo() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner { $0.device = .emulated(model: "nvme", backing: Backing(file: "/data/d.img")) }
            await runner.begin(running: [])
            #expect(await world.bringUp(runner))
            let uuid = world.machines.current[0].uuid
            await runner.heard(VirtualMachineEvent(machine: "d", uuid: uuid, kind: .diskFailed(stops: true)))
            let message = try await runner.place.log.events(from: 1, follow: false).reduce(into: "") { $0 = $1.message }
            #expect(
                message
                    == "the VM was paused: the host cannot read or write /data/d.img, its file system is full or broken; "
                    + "make room (`df /data/d.img`), then `drover restart d`")
        }
    }
}

@Suite("Events of a stub")
struct StubEventsTests {
    @Test func aFloodOfLogLinesIsBoundedAndDropsNothingElse() async {
        let events = StubEvents()
        for number in 0..<10_000 {
            events.add(.guestLog("\(number)"))
            if number % 1000 == 0 { events.add(.sessionLost(generation: UInt64(number), cause: .hangUp, reason: "")) }
        }
        var iterator = events.makeAsyncIterator()
        _ = await iterator.next()
        events.add(.guestLog("after"))
        events.finish()
        var lines: [String] = []
        var ends = 0
        while let event = await iterator.next() {
            if case .guestLog(let line) = event { lines.append(line) } else { ends += 1 }
        }
        #expect(ends == 10)
        #expect(lines.count == StubEvents.mostLines - 1 + 2)
        #expect(lines.suffix(2) == ["9744 lines of the guest's log left out: droverd was busy", "after"])
    }
}

@Suite("Restarts, as the command waits for them")
struct RestartTests {
    @Test func theLifeToWaitForIsTheOneThatTheRestartLedTo() {
        func old(_ phase: DDOSPhase, _ generation: UInt64, before: UInt64) -> UInt64 {
            DDOSSummary(
                name: "d", phase: phase, status: "", deviceClass: "block", device: "", image: "", generation: generation, restarts: 0,
                uptimeSeconds: nil, vmmPID: nil, stubPID: nil, disks: [], frontEnds: []
            ).lastOldLife(before: before)
        }
        #expect(old(.fencing, 4, before: 4) == 4)
        #expect(old(.starting, 5, before: 4) == 4, "the old VM was gone at once")
        #expect(old(.preparing, 5, before: 4) == 4)
        // It was being prepared anyway, and goes on.
        #expect(old(.preparing, 4, before: 4) == 3)
        #expect(old(.booting, 4, before: 4) == 3)
        #expect(old(.stopped, 0, before: 0) == 0)
    }
}
