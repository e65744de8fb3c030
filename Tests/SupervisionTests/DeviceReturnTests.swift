import ControlModel
import DroverConfiguration
import StubControl
import Testing

@testable import Supervision

/// When a DD/OS's device goes back to the host.
@Suite("Runner: the device's return", .serialized)
struct DeviceReturnTests {
    private struct Returning: DevicePreparation {
        let diary: Diary

        func prepare(_ configuration: DDOSConfiguration, progress: @escaping @Sendable (String) -> Void) async throws -> PreparedDevice {
            try await FakeDevices().prepare(configuration, progress: progress)
        }

        func giveBack(_ configuration: DDOSConfiguration) async throws -> String? {
            diary.write("give back")
            return "given back"
        }
    }

    private func runner(_ world: FakeWorld) -> DDOSRunner {
        var place = world.place
        place.devices = Returning(diary: world.diary)
        return world.keep(DDOSRunner(DDOSConfiguration(name: "d", device: .pci(address: "0000:01:00.0")), cid: 3, place: place))
    }

    private func bringUp(_ runner: DDOSRunner, _ world: FakeWorld, generation: UInt64) async {
        #expect(await runner.comes(to: [.booting]))
        world.stubs.send(.sessionReady(generation: generation, disks: [], replayed: 0))
        #expect(await runner.comes(to: [.ready]))
    }

    @Test func afterAStopWhenTheVMIsGone() async throws {
        try await FakeWorld.with { world in
            let runner = runner(world)
            await runner.begin(running: [])
            await bringUp(runner, world, generation: 1)
            await runner.send(.stopRequested)
            #expect(await runner.comes(to: [.stopped]))
            #expect(world.diary.all.suffix(3) == ["shutdown", "destroy VM", "give back"])
        }
    }

    @Test func notBetweenLives() async throws {
        try await FakeWorld.with { world in
            let runner = runner(world)
            await runner.begin(running: [])
            await bringUp(runner, world, generation: 1)
            world.stubs.send(.sessionLost(generation: 1, cause: .protocolViolation, reason: "test"))
            await bringUp(runner, world, generation: 2)
            #expect(!world.diary.all.contains("give back"))
        }
    }
}
