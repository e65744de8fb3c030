import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Glibc
import Hypervisor
import StubControl
import Testing

@testable import Supervision

@Suite("Runner: effects carried out", .serialized)
struct RunnerTests {
    /// From nothing to ready, at this generation.
    private func bringUp(_ runner: DDOSRunner, _ world: FakeWorld, generation: UInt64 = 1) async {
        #expect(await runner.comes(to: [.booting]))
        world.stubs.send(.sessionReady(generation: generation, disks: [], replayed: 0))
        #expect(await runner.comes(to: [.ready]))
    }

    @Test func aStartOpensTheSessionBeforeTheVM() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            #expect(world.diary.all == ["start stub", "open 1", "start VM"])
            #expect(await runner.summary.generation == 1)
        }
    }

    @Test(arguments: [SessionLossCause.pingTimeout, .protocolViolation, .requestDeadline])
    func aLostSessionIsFencedBeforeTheNextLifeIsLetIn(_ cause: SessionLossCause) async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            world.stubs.send(.sessionLost(generation: 1, cause: cause, reason: "test"))
            await bringUp(runner, world, generation: 2)
            #expect(world.diary.all == ["start stub", "open 1", "start VM", "close", "destroy VM", "open 2", "start VM"])
            let detail = await runner.detail()
            #expect(detail.recoveries.count == 1)
            #expect(detail.failures.map(\.cause) == [FailureCause(cause)])
        }
    }

    @Test func aKilledVMMIsCalledThat() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            kill(world.machines.current[0].pid, SIGKILL)
            world.stubs.send(.sessionLost(generation: 1, cause: .hangUp, reason: "vhost-user hung up"))
            await bringUp(runner, world, generation: 2)
            #expect(await runner.detail().recoveries.map(\.cause) == [.vmmGone])
        }
    }

    @Test func aGuestThatPanickedSaysWhyBeforeItIsFenced() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            let console =
                "Linux version 6.1\nKernel panic - not syncing: of an earlier life\nLinux version 6.1\n[ 2.5] Kernel panic - not syncing: NMI\n"
            try Data(console.utf8).write(to: URL(filePath: world.place.run.consoleLog("d")))
            // What the stub sees of a panic, and sees first.
            world.stubs.send(.sessionLost(generation: 1, cause: .hangUp, reason: "the guest's vsock device was stopped"))
            try await Task.sleep(for: .milliseconds(50))
            await runner.heard(VirtualMachineEvent(machine: "d", uuid: world.machines.current[0].uuid, kind: .panicked))
            #expect(await runner.comes(to: [.fencing, .preparing, .starting, .booting]))
            await bringUp(runner, world, generation: 2)
            #expect(world.diary.all == ["start stub", "open 1", "start VM", "let it print", "close", "destroy VM", "open 2", "start VM"])
            let detail = await runner.detail()
            #expect(detail.failures.map(\.reason) == ["the guest's kernel panicked: NMI"])
            #expect(detail.lastConsoleLines.last == "[ 2.5] Kernel panic - not syncing: NMI")
        }
    }

    @Test func thePanicOfAnEarlierLifeIsNotTakenForThisOnes() {
        #expect(DDOSRunner.panicLine(["Kernel panic - not syncing: old", "Linux version 6.1", "nvme"]) == nil)
        #expect(DDOSRunner.panicLine(["x Kernel panic - not syncing: first", "end Kernel panic - not syncing: first ]---"]) == "first")
    }

    @Test func aVMMThatNobodyHasReapedIsNotGone() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            world.machines.forgetToReap(1)
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            await bringUp(runner, world, generation: 2)
            let end = ["close", "leave a zombie", "close", "destroy VM", "open 2", "start VM"]
            #expect(world.diary.all == ["start stub", "open 1", "start VM"] + end)
        }
    }

    @Test func aSocketThatAnotherProgramServesIsLeftToIt() async throws {
        try await FakeWorld.with { world in
            let path = world.directory + "/other.sock"
            let other = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(other) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            #expect(bindUnix(other, &address) == 0 && listen(other, 8) == 0)
            let runner = world.runner {
                $0.frontEnds = [.nbd(socket: path)]
                $0.restart.quarantine = .init(failures: 1, within: .seconds(60))
            }
            await runner.begin(running: [])
            #expect(await runner.comes(to: [.quarantined]))
            #expect(await runner.summary.status.contains("the socket \(path) of d is in use by another program"))
            #expect(!world.diary.all.contains("start stub"))
        }
    }

    @Test func aDeadStubIsReplacedAfterItsVMWasFenced() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            world.stubs.die()
            #expect(await runner.comes(to: [.fencing, .preparing, .starting, .booting]))
            await bringUp(runner, world, generation: 2)
            #expect(world.diary.all == ["start stub", "open 1", "start VM", "destroy VM", "start stub", "open 2", "start VM"])
        }
    }

    @Test func aStopShutsTheStubDownAndLeavesNothing() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            await runner.send(.stopRequested)
            #expect(await runner.comes(to: [.stopped]))
            #expect(world.diary.all.suffix(2) == ["shutdown", "destroy VM"])
            #expect(world.stubs.process?.isRunning == false)
            #expect(world.machines.current.isEmpty)
        }
    }

    @Test func aVMThatDoesNotStartIsTriedAgainWithBackoff() async throws {
        try await FakeWorld.with { world in
            world.machines.failNextStarts(2)
            let runner = world.runner { $0.restart.backoffMinimum = .milliseconds(10) }
            await runner.begin(running: [])
            await bringUp(runner, world, generation: 3)
            #expect(await runner.summary.restarts == 2)
            #expect(world.diary.all.filter { $0 == "start stub" }.count == 1, "the stub stays")
        }
    }

    @Test func aStartThatFailsGivesItsOwnReasonAlthoughTheVMMsEndIsHeardBefore() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner { $0.restart.backoffMinimum = .milliseconds(10) }
            world.machines.failNextStarts(1) { spec in
                await runner.heard(VirtualMachineEvent(machine: spec.name, uuid: spec.uuid, kind: .stopped(.failed)))
            }
            await runner.begin(running: [])
            await bringUp(runner, world, generation: 2)
            let failures = await runner.detail().failures
            #expect(failures.map(\.cause) == [.startFailed])
            #expect(failures[0].reason.contains("as told"))
        }
    }

    @Test func theNextSupervisorAdoptsWhatRunsAndStartsNothing() async throws {
        try await FakeWorld.with { world in
            let first = world.runner()
            await first.begin(running: [])
            await bringUp(first, world)
            let before = world.diary.all
            await first.leave()

            let second = world.runner()
            await second.begin(running: world.machines.current)
            #expect(await second.phase == .ready)
            #expect(world.diary.all == before)
            let summary = await second.summary
            #expect(summary.generation == 1)
            #expect(summary.restarts == 0)
            #expect(summary.stubPID == world.stubs.process?.pid)
            #expect(summary.vmmPID == world.machines.current.first?.pid)
            // And it watches.
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            await bringUp(second, world, generation: 2)
        }
    }

    @Test func aVMThatDiedUnwatchedIsReplacedByTheNextSupervisor() async throws {
        try await FakeWorld.with { world in
            let first = world.runner()
            await first.begin(running: [])
            await bringUp(first, world)
            await first.leave()
            try await world.machines.destroy("d", deadline: .seconds(1))

            let second = world.runner()
            await second.begin(running: [])
            await bringUp(second, world, generation: 2)
            #expect(await second.detail().failures.map(\.cause) == [.diedUnwatched])
        }
    }

    @Test func anOrphanIsStoppedAndItsFilesRemoved() async throws {
        try await FakeWorld.with { world async throws in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            await runner.leave()
            #expect(try await Orphan.end("d", place: world.place, running: world.machines.current))
            #expect(world.machines.current.isEmpty)
            #expect(world.stubs.process?.isRunning == false)
            #expect(!FileManager.default.fileExists(atPath: world.place.run.ddos("d")))
        }
    }

    @Test func theReportCountsDeadLives() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner()
            await runner.begin(running: [])
            await bringUp(runner, world)
            let before = await runner.reading()
            world.stubs.send(.sessionLost(generation: 1, cause: .pingTimeout, reason: "test"))
            await bringUp(runner, world, generation: 2)
            let after = await runner.reading()
            #expect(before.requests == 100)
            #expect(after.vmm.total >= before.vmm.total)
            #expect(after.restarts == 1)
            #expect(after.lostSeconds > 0)
        }
    }
}

@Suite("Supervisor's files")
struct SupervisorFileTests {
    private func folder() throws -> String {
        let path = NSTemporaryDirectory() + "drover-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    @Test func aSecondSupervisorIsToldWhoIsThere() throws {
        let run = RunDirectory(path: try folder())
        defer { try? FileManager.default.removeItem(atPath: run.path) }
        let lock = try SupervisorLock(run)
        do throws(SupervisionError) {
            _ = try SupervisorLock(run)
            Issue.record("two supervisors")
        } catch {
            #expect(error == .secondSupervisor(pid: getpid(), runDirectory: run.path))
            #expect(
                "\(error)"
                    == "another droverd (pid \(getpid())) works in \(run.path) already; talk to it with `drover`, or choose another --run-dir"
            )
        }
        withExtendedLifetime(lock) {}
    }

    @Test func aRunDirectoryTooDeepForSocketsIsRefused() {
        let run = RunDirectory(path: "/tmp/" + String(repeating: "x", count: 100))
        #expect(throws: SupervisionError.socketPathTooLong(path: run.apiSocket, limit: 107)) { try run.create(for: []) }
    }

    @Test func stateOfAnotherBootIsForgotten() throws {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/state.json"
        var state = StateFile(
            bootID: StateFile.currentBootID, name: "d", record: MachineRecord(), phase: .ready, vmmMeter: .init(), stubMeter: .init(),
            pastRequests: 7, configuration: "")
        state.record.down = .init(
            failure: .init(at: Moment(monotonic: 1, wall: Date(timeIntervalSince1970: 5)), generation: 1, cause: .panic, reason: "r"))
        try state.save(path)
        #expect(StateFile.load(path) == state)
        state.bootID = "another"
        try state.save(path)
        #expect(StateFile.load(path) == nil)
        try Data("{".utf8).write(to: URL(filePath: path))
        #expect(StateFile.load(path) == nil)
    }
}

@Suite("Runner: the moment of adoption")
struct AdoptionRaceTests {
    @Test func aDeathBeforeTheMachineHasBegunIsNotLost() async throws {
        try await FakeWorld.with { world in
            let runner = world.runner { $0.restart.backoffMinimum = .milliseconds(10) }
            await runner.send(.stopRequested)
            await runner.begin(running: [])
            #expect(await runner.comes(to: [.stopped]))
            #expect(world.machines.current.isEmpty)
        }
    }
}
