import ControlModel
import DroverConfiguration
import Foundation
import Netlink
import StubControl
import Testing

@testable import Supervision

/// The host's interface in the life of a network DD/OS, with the real kernel: needs root.
@Suite(.serialized) struct RunnerInterfaceTests {
    /// A run directory, a namespace for the interface, and a runner.
    private func with(_ body: (DDOSRunner, FakeWorld, _ namespace: String) async throws -> Void) async throws {
        try await FakeWorld.with { world in
            let namespace = "drover-test-\(getpid())-\(UInt32.random(in: 0...999_999))"
            try TestNamespaces.ip("netns", "add", namespace)
            defer { try? TestNamespaces.ip("netns", "del", namespace) }
            let runner = world.runner {
                $0.deviceClass = .network
                $0.network = NetworkConfiguration(interface: InterfaceConfiguration(name: "dr-d", namespace: namespace))
            }
            try await body(runner, world, namespace)
        }
    }

    private func link(_ namespace: String) throws -> Link {
        var links = try LinkSocket(namespace: "/run/netns/\(namespace)")
        return try links.link(named: "dr-d")
    }

    private func remove(_ link: Link, _ namespace: String) throws {
        var links = try LinkSocket(namespace: "/run/netns/\(namespace)")
        try links.delete(link.index)
    }

    private func nic(mtu: UInt32 = 4000) -> StubInterface {
        var nic = StubInterface(driver: "e1000e", mac: "52:54:00:12:34:56", mtu: mtu)
        nic.hasCarrier = true
        return nic
    }

    private func bringUp(_ runner: DDOSRunner, _ world: FakeWorld, generation: UInt64 = 1) async {
        #expect(await runner.comes(to: [.booting]))
        world.stubs.send(.interfaceReady(generation: generation, nic()))
        #expect(await runner.comes(to: [.ready]))
    }

    @Test func anInterfaceThatWasMadeAnewTakesItsNICsAddressAndMTUAgain() async throws {
        try await with { runner, _, namespace in
            for _ in 0..<2 {
                try await runner.ensureInterface()
                #expect(await runner.take(nic()) == nil)
                let found = try link(namespace)
                #expect(found.mtu == 4000 && found.mac?.description == "52:54:00:12:34:56")
                try remove(found, namespace)
            }
        }
    }

    @Test func anInterfaceThatCouldNotFollowIsTriedAgain() async throws {
        try await with { runner, _, namespace in
            try await runner.ensureInterface()
            let sentence = "the interface does not follow its NIC: cannot set the MTU 70000 of 'dr-d': mtu greater than device maximum"
            for _ in 0..<2 { #expect(await runner.take(nic(mtu: 70000)) == sentence) }
            #expect(await runner.take(nic()) == nil)
            #expect(try link(namespace).mtu == 4000)
        }
    }

    @Test func aChangeThatTheHostsInterfaceDoesNotFollowFails() async throws {
        try await with { runner, world, namespace in
            world.stubs.describe(nic())
            await runner.begin(running: [])
            await bringUp(runner, world)
            var change = InterfaceChange()
            change.isPromiscuous = true
            let detail = try await runner.change(change)
            #expect(detail.interface.mtu == 4000)
            world.stubs.describe(nic(mtu: 70000))
            do throws(ControlError) {
                _ = try await runner.change(change)
                Issue.record("a change that was half made is told as made")
            } catch {
                let words = "d: the driver has made the change, but the interface does not follow its NIC: "
                #expect(error == ControlError(.failed, words + "cannot set the MTU 70000 of 'dr-d': mtu greater than device maximum"))
            }
        }
    }

    @Test func aStubInPlaceOfADeadOneBeginsWithTheCarrier() async throws {
        try await with { runner, world, _ in
            await runner.begin(running: [])
            await bringUp(runner, world)
            #expect(!world.stubs.arguments.contains("--carrier-was-on"))
            world.stubs.die()
            #expect(await runner.comes(to: [.fencing, .preparing, .starting, .booting]))
            await bringUp(runner, world, generation: 2)
            #expect(world.stubs.arguments.contains("--carrier-was-on"))
        }
    }

    @Test func aDDOSThatBecameABlockDDOSLeavesNoInterface() async throws {
        for forgets in [true, false] {
            try await with { runner, world, namespace in
                try await runner.ensureInterface()
                _ = try link(namespace)
                let block = world.runner()
                if forgets { await block.removeInterface() } else { try await block.ensureInterface() }
                #expect(throws: NetlinkError.self) { try link(namespace) }
            }
        }
    }
}
