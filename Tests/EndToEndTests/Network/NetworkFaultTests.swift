import ControlAPI
import ControlModel
import Foundation
import Glibc
import Netlink
import Testing

extension EndToEnd {
    @Suite struct NetworkFaults {
        /// One stream into the wire, through a panic, a kill -9 and a hang of the driver's machine; numbered datagrams the other way.
        @Test(.timeLimit(.minutes(10)))
        func aStreamOfMoreThan200MegabytesSurvivesAPanicAKillAndAHangByteForByte() async throws {
            try await withNetwork("a TCP stream over three crashes", ["e1000e"]) { network in
                try await network.rig.up()
                let cable = network.cables[0]
                try network.lab.configure(cable)
                try await network.untilLinked(cable)
                let stub = try await network.rig.summary("n1").stubPID
                let index = try network.lab.link(cable)?.index
                // So slow that most of it is still to come when a hang is noticed, seconds after it began.
                let bytes = 320 << 20
                let transfer = try network.transfer(cable, toWire: true, bytes: bytes, rate: 16 << 20)
                let flow = try network.flow(cable, toWire: false, count: 8000, rate: 200)
                typealias Moment = ContinuousClock.Instant
                var recoveries: [(fault: InjectedFault, injected: Moment, recovery: Recovery, goesOn: Moment)] = []
                for fault in [InjectedFault.panic, .kill, .hang] {
                    try await transfer.untilReceived(transfer.received + 16 << 20, within: .seconds(180))
                    let injected = ContinuousClock.now
                    let recovery = try await network.rig.crash("n1", fault)
                    // What arrives from here on has gone through the new life.
                    let mark = transfer.received
                    guard mark < bytes - 2 << 20 else { throw Failure("the stream ended before the recovery from \(fault.rawValue)") }
                    try await transfer.untilReceived(mark + 1 << 20, within: .seconds(60))
                    recoveries.append((fault, injected, recovery, .now))
                    say("\(fault.rawValue): recovered after \(text(seconds: recovery.readySeconds)), and the stream goes on")
                }
                let result = try await transfer.result()
                var rows = [["fault", "recovered after", "silence", "stream goes on after"]]
                for (fault, injected, recovery, goesOn) in recoveries {
                    let silences = result.silences(from: injected, to: goesOn)
                    #expect(!silences.isEmpty, "\(fault.rawValue): nothing was silent, so nothing was broken")
                    rows.append([
                        fault.rawValue, text(seconds: recovery.readySeconds), silences.map(\.description).joined(separator: " + "),
                        text(seconds: injected.duration(to: goesOn) / .seconds(1)),
                    ])
                }
                let datagrams = try await flow.result()
                print("\n" + table(rows) + "\n")
                say("\(bytes >> 20) MiB in \(text(seconds: result.seconds)), every byte right, no reset; silences: \(result.silences)")
                say(
                    "the other way \(datagrams.received) datagrams of \(datagrams.sent), \(datagrams.duplicated) twice, "
                        + "\(datagrams.reordered) out of order, \(datagrams.corrupted) wrong")
                #expect(datagrams.isClean)
                #expect(datagrams.received > 0)
                let after = try await network.rig.summary("n1")
                #expect(after.restarts == 3)
                #expect(after.stubPID == stub, "the client stub outlives its DD/OS's lives")
                #expect(try network.lab.link(cable)?.index == index, "it is the same interface all the time")
            }
        }

        /// Two DD/OSs: one of them is crashed again and again, and floods; the other one's stream does not notice.
        @Test(.timeLimit(.minutes(10)))
        func aStreamGoesOnThroughDeathsOfTheSupervisorAndOfTheClientStubAndAMisbehavingNeighbour() async throws {
            try await withNetwork("deaths of droverd and of the client stub", ["e1000e", "virtio_net"]) { network in
                let rig = network.rig
                try await rig.up()
                let (cable, other) = (network.cables[0], network.cables[1])
                for cable in network.cables { try network.lab.configure(cable) }
                try await rig.succeed("net", "n1", "set", "mtu=4000", "coalesce=rx-usecs:20")
                for cable in network.cables { try await network.untilLinked(cable) }
                let bytes = 64 << 20
                let transfer = try network.transfer(cable, toWire: false, bytes: bytes, rate: 2 << 20)
                let neighbour = try network.flow(other, toWire: true, count: 4000, rate: 4000, port: 5010)
                try await transfer.untilReceived(bytes / 10, within: .seconds(60))
                let restarts = try await rig.summary("n1").restarts
                _ = try await rig.crash("n2", .kill)
                #expect(try await rig.summary("n1").restarts == restarts, "a neighbour's crash is nobody else's")
                _ = try await neighbour.result()

                let pid = try await rig.client.info().pid
                kill(pid, SIGKILL)
                say("droverd, pid \(pid), killed")
                try await transfer.untilReceived(transfer.received + bytes / 10, within: .seconds(60))
                let sequence = await rig.events.last
                try await rig.up()
                _ = try await rig.events.wait(.adopted, of: "n1", after: sequence, within: .seconds(10))

                let before = try await rig.summary("n1")
                kill(try #require(before.stubPID), SIGKILL)
                say("the client stub, pid \(before.stubPID ?? 0), killed")
                _ = try await rig.events.wait(.stubLost, of: "n1", after: sequence, within: .seconds(20))
                try await rig.untilReady("n1", within: .seconds(90))
                let result = try await transfer.result()
                say("\(bytes >> 20) MiB, every byte right, no reset; silences: \(result.silences)")
                // Set before droverd and the stub died; the NIC was another one since.
                let detail = try await rig.client.interface("n1")
                #expect(detail.interface.mtu == 4000)
                #expect(detail.coalescing?.receiveMicroseconds == 20)
                #expect(try network.lab.link(cable)?.mtu == 4000)
            }
        }

        /// What `drover down` leaves of the host's network, after a crash too: nothing. And what it refuses to begin with.
        @Test(.timeLimit(.minutes(10)))
        func interfacesGoWithDownAlsoAfterACrashAndWhatCannotBeIsOneSentence() async throws {
            try await withNetwork("interfaces come and go", ["e1000e"], more: [1: "settings: { mtu: 1400 }"]) { network in
                let (rig, lab, cable) = (network.rig, network.lab, network.cables[0])
                try NetworkLab.ip(["link add br0 type bridge", "link add \(cable.interface) type bridge"], in: lab.host)
                let plan = try String(contentsOfFile: rig.configurationFile, encoding: .utf8)
                func configure(_ from: String, _ to: String) throws {
                    try plan.replacingOccurrences(of: from, with: to).write(
                        toFile: rig.configurationFile, atomically: true, encoding: .utf8)
                }
                let place = "namespace: \(lab.host)"
                try configure(place, "\(place), bridge: br0")
                try await rig.succeed("up", "-f", rig.configurationFile, "--no-wait")
                // The name is taken: said, and the interface that has it is left alone.
                let refused = try await rig.events.wait(.failed, of: "n1", after: 0, within: .seconds(120))
                #expect(refused.message.contains("there is an interface '\(cable.interface)' already in the namespace '\(lab.host)'"))
                #expect(try lab.link(cable)?.kind == "bridge")
                try NetworkLab.ip(["link del \(cable.interface)"], in: lab.host)
                try await rig.untilReady("n1", within: .seconds(90))
                let link = try #require(try lab.link(cable))
                #expect(link.master != nil && link.isUp, "a port of the bridge")
                #expect(link.mtu == 1400 && link.mac?.description == cable.mac)
                let refusal = try await rig.drover("net", "n1", "set", "mtu=60000")
                #expect(refusal.status == 5)
                #expect(refusal.error.contains("takes MTUs from 68 to 9212, not 60000"), "\(refusal.error)")
                #expect(try lab.link(cable)?.mtu == 1400)
                #expect(try await rig.summary("n1").interface?.mtu == 1400)

                kill(try await rig.client.info().pid, SIGKILL)
                try await Task.sleep(for: .milliseconds(300))
                #expect(try lab.link(cable) != nil, "it stays while nobody supervises")
                try await rig.up()
                try await rig.client.down()
                _ = try await eventually("\(cable.interface) is gone", within: .seconds(10)) { try lab.link(cable) == nil ? true : nil }
                let bridge = try #require(try NetworkLab.link("br0", in: lab.host))
                #expect(bridge.kind == "bridge", "what was there before stays")

                for (from, to, words) in [
                    (place, "namespace: nowhere", "there is no network namespace 'nowhere'; make it with 'ip netns add nowhere'"),
                    (place, "\(place), bridge: br9", "there is no bridge 'br9' in the namespace '\(lab.host)'"),
                    (place, "\(place), bridge: lo", "'lo' is a device, not a bridge"),
                ] {
                    try configure(from, to)
                    let last = await rig.events.last
                    _ = try await eventually("droverd ends", within: .seconds(10)) { (try? await rig.client.info()) == nil ? true : nil }
                    try await rig.succeed("up", "-f", rig.configurationFile, "--no-wait")
                    let failed = try await rig.events.wait(.failed, of: "n1", after: last, within: .seconds(30))
                    #expect(failed.message.contains(words))
                    #expect(try lab.link(cable) == nil, "nothing half set up")
                    try await rig.client.down()
                }
            }
        }
    }
}
