import ControlAPI
import ControlModel
import Foundation
import Netlink
import Synchronization
import Testing

extension EndToEnd {
    /// A guest that has been taken over, against a real client stub under a real droverd, with a neighbour that must not notice.
    @Suite struct NetworkHostility {
        /// What the guest puts on a ring, and what is logged of it.
        static let attacks: [(word: String, logged: String)] = [
            ("circle", "queue 1: descriptor chain 0 runs in a circle"),
            ("outside", "queue 1: buffer at 140737488351232 of 64 bytes is outside the memory"),
            ("length", "of 4294967295 bytes is outside the memory"),
            ("number", "queue 1: descriptor number 64 is out of range"),
            ("next", "queue 1: descriptor number 65535 is out of range"),
            ("table", "of 24 bytes is invalid"),
            ("writable", "queue 1: a buffer to send from is writable"),
            ("jump", "queue 1: avail index jumped from"),
            ("receive-readable", "queue 0: a buffer to receive into is readable"),
            ("receive-small", "queue 0: a buffer to receive into has no room for a packet's header"),
        ]

        @Test(.timeLimit(.minutes(20)))
        func aGuestThatLiesOnItsQueuesIsReplacedAndNobodyElseNotices() async throws {
            let images = [1: "image: \(HostileGuest.recipe)"]
            try await withNetwork("a hostile guest", ["virtio_net", "e1000e"], more: images) { network in
                let rig = network.rig
                let guest = try await HostileGuest(rig)
                try await guest.up()
                let (cable, other) = (network.cables[0], network.cables[1])
                for cable in network.cables { try network.lab.configure(cable) }
                try await network.untilLinked(other)
                let wire = try HostileWire(network, cable)
                try await wire.greet()

                let before = (try await rig.summary("n1"), try await rig.client.info().pid, try network.lab.link(cable)?.index)
                let calm = try await rig.summary("n2")
                let isEnough = Mutex(false)
                async let streams = Self.streams(network, other) { isEnough.withLock { $0 } }

                try await Self.malformedHeadersAreDropped(wire, network)
                try await Self.aFloodIsCarried(wire, network)
                #expect(try await rig.summary("n1").generation == before.0.generation, "wrong packets end no session")

                var rows = [["on the ring", "recovered after", "logged"]]
                for (word, logged) in Self.attacks { rows.append(try await Self.attack(word, logged, wire, rig)) }
                print("\n" + table(rows) + "\n")

                isEnough.withLock { $0 = true }
                let carried = try await streams
                say("the neighbour: \(carried) streams of \(Self.streamBytes >> 20) MiB, every byte right")
                #expect(carried > 0)
                let (hostile, neighbour) = (try await rig.summary("n1"), try await rig.summary("n2"))
                #expect(hostile.restarts == before.0.restarts + Self.attacks.count)
                #expect(hostile.stubPID == before.0.stubPID, "the client stub outlives what its guests do")
                #expect(try await rig.client.info().pid == before.1)
                #expect(try network.lab.link(cable)?.index == before.2, "it is the same interface all the time")
                #expect(neighbour.generation == calm.generation && neighbour.stubPID == calm.stubPID, "\(neighbour.status)")
                try await guest.forgetImages()
            }
        }

        /// 240 packets with headers and lengths that cannot be: counted, and not carried.
        private static func malformedHeadersAreDropped(_ wire: HostileWire, _ network: NetworkRig) async throws {
            let before = try await network.rig.client.interface("n1").packets
            try wire.tell("headers")
            try await wire.greet(within: .seconds(120))
            let after = try await network.rig.client.interface("n1").packets
            say("malformed headers: \(after.droppedPackets - before.droppedPackets) packets dropped")
            #expect(after.droppedPackets - before.droppedPackets == 240)
        }

        private static func aFloodIsCarried(_ wire: HostileWire, _ network: NetworkRig) async throws {
            let before = try await network.rig.client.interface("n1").packets
            try wire.tell("flood")
            try await wire.greet(within: .seconds(120))
            let after = try await network.rig.client.interface("n1").packets
            let count = after.receivedPackets - before.receivedPackets + after.droppedPackets - before.droppedPackets
            say("flood: \(count) packets in 4 s")
            #expect(count > 1000)
        }

        private static func attack(_ word: String, _ logged: String, _ wire: HostileWire, _ rig: Rig) async throws -> [String] {
            let sequence = await rig.events.last
            guard let vmm = try await rig.summary("n1").vmmPID else { throw Failure("n1 has no VMM") }
            await rig.events.watch("n1", pid: vmm)
            try wire.tell(word)
            let failed = try await eventually("\(word) ends the session", within: .seconds(60)) {
                // A receive buffer is looked at when the next packet comes.
                try wire.tell("nothing")
                return await rig.events.of("n1", after: sequence).first { $0.kind == .failed }
            }
            #expect(failed.cause == .protocolViolation, "\(word): \(failed.message)")
            #expect(failed.message.contains(logged), "\(word): \(failed.message)")
            let recovered = try await rig.events.wait(.recovered, of: "n1", after: sequence, within: .seconds(120))
            let log = try String(contentsOfFile: "\(rig.runDirectory)/ddos/n1/stub.log", encoding: .utf8)
            #expect(log.contains(logged), "\(word): in the client stub's log")
            try await wire.greet()
            say("\(word): \(failed.message)")
            return [word, text(seconds: recovered.recovery?.readySeconds ?? 0), failed.message]
        }

        private static let streamBytes = 4 << 20

        /// One stream after the other through the neighbour, in both directions in turn: how many.
        private static func streams(
            _ network: NetworkRig, _ cable: NetworkLab.Cable, until isEnough: @Sendable () -> Bool
        ) async throws -> Int {
            var count = 0
            while !isEnough(), !Task.isCancelled {
                let transfer = try network.transfer(cable, toWire: count % 2 == 0, bytes: streamBytes, rate: 2 << 20, port: 5020)
                _ = try await transfer.result()
                count += 1
            }
            return count
        }
    }
}
