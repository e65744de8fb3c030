import ControlAPI
import ControlModel
import Foundation
import Testing

extension Lab {
    @Suite struct NetworkPassthrough {
        /// The life of a real NIC with Drover: from its driver of the host's, through crashes under traffic, back to it.
        @Test(.timeLimit(.minutes(120)))
        func anE1000eIsTakenCrashedUnderTrafficAndGivenBack() async throws {
            try Lab.enter()
            let own = try Lab.interface(Lab.nic)
            let far = try Lab.interface(Lab.otherEnd)
            let mac = try Self.address(of: own)
            try await withNetwork(
                "an e1000e of L1's", cables: { [try $0.cable(1, mac: mac, end: far)] },
                plan: { lab, cable in
                    """
                      n1:
                        class: network
                        device: { pci: "\(Lab.nic)" }
                        image: lean-6.1
                        interface: { name: \(cable.interface), namespace: \(lab.host) }
                        boot: { deadline: 10min }
                        restart: { backoff: 0.2s..1s, stableAfter: 1s, quarantine: never }
                        requests: { pingTimeout: 8s }

                    """
                }
            ) { network in
                let (rig, lab, cable) = (network.rig, network.lab, network.cables[0])
                var rows = [Lab.header]
                try await Self.useNatively(own, network)
                let start = ContinuousClock.now
                try await rig.up()
                rows.append([
                    "first life", Lab.seconds(since: start), try await Lab.phases(rig, "n1"), try Lab.resetMethod(Lab.nic),
                    "from `drover up`",
                ])
                #expect(Lab.driver(Lab.nic) == "vfio-pci")
                #expect(!FileManager.default.fileExists(atPath: "/sys/class/net/\(own)"), "L1's own driver does not have it")
                #expect(try await rig.client.interface("n1").interface.driver == "e1000e")
                try await network.expectInterface(cable, mtu: 1500)
                try lab.configure(cable)
                try await network.untilLinked(cable)
                rows.append(try await Self.traffic(network))
                rows += try await Self.crashes(network)
                let down = ContinuousClock.now
                try await rig.succeed("down")
                rows.append(["down, given back", Lab.seconds(since: down), "-", "-", Lab.driver(Lab.nic) ?? "no driver"])
                #expect(Lab.driver(Lab.nic) == "e1000e")
                #expect(Lab.override(Lab.nic) == "")
                let again = try await eventually("L1's interface is back", within: .seconds(20)) { try? Lab.interface(Lab.nic) }
                #expect(try Self.address(of: again) == mac)
                try await Self.useNatively(again, network)
                print("\n" + table(rows) + "\n")
            }
        }

        /// L1's own driver and interface carry packets to the wire's other end.
        private static func useNatively(_ interface: String, _ network: NetworkRig) async throws {
            let cable = network.cables[0]
            let addresses = ["link set \(interface) addrgenmode none up", "addr add \(cable.hostAddress)/24 dev \(interface)"]
            try NetworkLab.ip(addresses)
            _ = try await eventually("packets pass with L1's own driver", within: .seconds(60)) {
                try await network.rig.start("/usr/bin/ping", ["-c", "1", "-W", "1", cable.wireAddress]).finish(within: .seconds(20)).status
                    == 0
                    ? true : nil
            }
            try NetworkLab.ip(["addr flush dev \(interface)", "link set \(interface) down"])
        }

        /// Streams and numbered datagrams, both ways.
        private static func traffic(_ network: NetworkRig) async throws -> [String] {
            let cable = network.cables[0]
            let start = ContinuousClock.now
            var words: [String] = []
            for toWire in [true, false] {
                let flow = try await network.flow(cable, toWire: toWire, count: 200, rate: 100).result()
                guard flow.isClean, flow.received > 100 else { throw Failure("UDP \(toWire ? "to" : "from") the wire: \(flow)") }
                let result = try await network.transfer(cable, toWire: toWire, bytes: 8 << 20, version6: !toWire).result()
                words.append("\(String(format: "%.0f", result.megabitsPerSecond)) Mbit/s \(toWire ? "to" : "from") the wire")
            }
            return ["traffic", Lab.seconds(since: start), "-", "-", words.joined(separator: ", ") + ", every byte right"]
        }

        /// Two streams, one in each direction, through all of the crashes.
        private static func crashes(_ network: NetworkRig) async throws -> [[String]] {
            let (rig, cable) = (network.rig, network.cables[0])
            // The driver of a machine that hangs carries packets until its machine is ended.
            let bytes = Lab.faults.reduce(0) { $0 + ($1 == .hang ? 14 : 3) << 20 } + 4 << 20
            let out = try network.transfer(cable, toWire: true, bytes: bytes, rate: rate, port: 5101)
            let back = try network.transfer(cable, toWire: false, bytes: bytes / 4, rate: rate / 4, port: 5102)
            var rows: [[String]] = []
            for (round, fault) in Lab.faults.enumerated() {
                for stream in [out, back] {
                    try await network.untilReceived(128 << 10, of: stream, through: cable, within: .seconds(180))
                }
                let injected = ContinuousClock.now
                let recovery = try await rig.crash("n1", fault, within: .seconds(240))
                guard out.received < out.bytes, back.received < back.bytes else {
                    throw Failure("a stream ended before the recovery from \(fault.rawValue)")
                }
                // What arrives from here on has gone through the new life.
                try await network.untilReceived(64 << 10, of: out, through: cable, within: .seconds(180))
                #expect(Lab.driver(Lab.nic) == "vfio-pci")
                try await network.expectInterface(cable, mtu: 1500)
                say("\(fault.rawValue) \(round + 1): recovered after \(text(seconds: recovery.readySeconds)), and the stream goes on")
                rows.append([
                    "\(fault.rawValue) \(round + 1)", String(format: "%.1f", recovery.readySeconds), try await Lab.phases(rig, "n1"),
                    try Lab.resetMethod(Lab.nic),
                    "fenced \(text(seconds: recovery.fencedSeconds)), stream goes on after \(Lab.seconds(since: injected)) s",
                ])
            }
            for stream in [out, back] {
                let result = try await stream.result()
                #expect(result.silences.count >= Lab.faults.count, "nothing was silent, so nothing was broken: \(result.silences)")
                say("\(stream.bytes >> 10) KiB, every byte right, no reset; silences: \(result.silences)")
            }
            return rows
        }

        /// Bytes a second: what emulated processors in emulated processors carry with ease.
        private static let rate = 512 << 10

        private static func address(of interface: String) throws -> String {
            try String(contentsOfFile: "/sys/class/net/\(interface)/address", encoding: .utf8).trimmingCharacters(in: .newlines)
        }
    }
}
