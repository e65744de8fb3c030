import ControlAPI
import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct NetworkDrivers {
        /// What the configuration calls it, and the largest MTU that is tried; nil: no jumbo frames.
        ///
        /// vmxnet3: its driver counts what needs more than one of its 3 KiB buffers as a receive error, before anything of Drover's has seen
        /// it: QEMU 7.2's model marks such packets so.
        static let models: [(model: String, jumbo: Int?)] = [
            ("e1000e", 9000), ("e1000", 9000), ("pcnet32", nil), ("8139cp", 4000), ("e100", nil), ("vmxnet3", 3000), ("virtio_net", 9000),
            ("tulip", nil),
        ]

        /// Debian's own kernel, and those built from its source. The first lives of the latter compile them.
        @Test(.timeLimit(.minutes(45)), arguments: ["debian-6.1", "lean-6.1"])
        func everyDriverMovesEveryKindOfTrafficBothWaysAndRecoversFromAKillOfItsVMM(_ image: String) async throws {
            var rows = [
                [
                    "image", "driver", "device", "memory", "ready", "recovered", "silence", "to wire Mbit/s", "from wire Mbit/s", "jumbo",
                    "verdict",
                ]
            ]
            // Three at a time: as many virtual machines as two CPUs boot in reasonable time.
            for first in stride(from: 0, to: Self.models.count, by: 3) {
                let batch = Array(Self.models[first..<min(first + 3, Self.models.count)])
                let title = "NICs on \(image): \(batch.map(\.model).joined(separator: ", "))"
                try await withNetwork(title, batch.map(\.model), image: image) { network in
                    try await network.rig.succeed("up", "-f", network.rig.configurationFile, "--no-wait")
                    let results = await withTaskGroup(of: (Int, NICTrial).self) { group in
                        for (index, nic) in batch.enumerated() {
                            group.addTask { (index, await NICTrial.run(nic.model, nic.jumbo, image, network.cables[index], network)) }
                        }
                        return await group.reduce(into: [Int: NICTrial]()) { $0[$1.0] = $1.1 }
                    }
                    for index in batch.indices {
                        guard let trial = results[index] else { continue }
                        rows.append(trial.row)
                        #expect(trial.verdict == "ok", "\(batch[index].model)")
                    }
                }
            }
            print("\n" + table(rows) + "\n")
        }
    }
}

/// One NIC's row.
private struct NICTrial {
    var image: String
    var driver = "-"
    var device: String
    var memory = "-"
    var ready = "-"
    var recovered = "-"
    var silence = "-"
    var toWire = "-"
    var fromWire = "-"
    var jumbo = "-"
    var verdict = "ok"

    var row: [String] { [image, driver, device, memory, ready, recovered, silence, toWire, fromWire, jumbo, verdict] }

    static func run(
        _ model: String, _ jumbo: Int?, _ image: String, _ cable: NetworkLab.Cable, _ network: NetworkRig
    ) async -> NICTrial {
        var trial = NICTrial(image: image, device: model)
        do {
            try await trial.run(jumbo, cable, network)
        } catch {
            trial.verdict = "\(error)"
            say("\(model): \(error)")
        }
        return trial
    }

    private mutating func run(_ largest: Int?, _ cable: NetworkLab.Cable, _ network: NetworkRig) async throws {
        let (rig, lab) = (network.rig, network.lab)
        let name = network.name(cable)
        let ready = try await rig.events.wait(.ready, of: name, after: 0, within: .seconds(2400))
        let started = try await rig.events.wait(.started, of: name, after: 0, within: .seconds(1))
        self.ready = text(seconds: ready.time.timeIntervalSince(started.time))
        let machine = try await rig.client.inspect(name)
        memory = "\(machine.memoryMiB) MiB"
        // The image is the one asked for: a lean recipe falls back to a stock kernel where it has no driver.
        guard (machine.kernelVersion?.hasSuffix("-amd64") ?? true) == image.hasPrefix("debian") else {
            throw Failure("runs kernel \(machine.kernelVersion ?? "?") on image \(image)")
        }
        let detail = try await rig.client.interface(name)
        driver = detail.interface.driver ?? "-"
        try await network.expectInterface(cable, mtu: 1500)
        try lab.configure(cable)
        try await network.untilLinked(cable)

        try await network.run(lab.host, "ping", "-c", "5", "-i", "0.5", "-W", "5", cable.wireAddress)
        try await network.run(lab.wire, "ping", "-6", "-c", "5", "-i", "0.5", "-W", "5", cable.hostAddress6)
        for toWire in [true, false] {
            try await network.expectMulticast(cable, toWire: toWire)
            // e1000's driver takes only the VLAN's number from the NIC (E1000_RXD_SPC_VLAN_MASK).
            try await network.expectVLAN(cable, toWire: toWire, keepsPriority: device != "e1000")
            let flow = try await network.flow(cable, toWire: toWire, count: 200, rate: 200).result()
            guard flow.isClean, flow.received > 150 else { throw Failure("UDP \(toWire ? "to" : "from") the wire: \(flow)") }
            let result = try await network.transfer(cable, toWire: toWire, bytes: 8 << 20, version6: !toWire).result()
            let rate = String(format: "%.0f", result.megabitsPerSecond)
            if toWire { self.toWire = rate } else { fromWire = rate }
        }
        if let largest {
            try await rig.succeed("net", name, "set", "mtu=\(largest)")
            try await network.expectInterface(cable, mtu: largest)
            try lab.setEnd(cable, mtu: largest)
            // Many NICs are reset for another MTU.
            try await network.untilLinked(cable)
            try await network.run(
                lab.host, "ping", "-c", "5", "-i", "0.5", "-W", "5", "-M", "do", "-s", "\(largest - 28)", cable.wireAddress)
            try await network.run(
                lab.wire, "ping", "-c", "5", "-i", "0.5", "-W", "5", "-M", "do", "-s", "\(largest - 28)", cable.hostAddress)
            jumbo = "\(largest)"
        }
        let bytes = 12 << 20
        let transfer = try network.transfer(cable, toWire: true, bytes: bytes, rate: 3 << 20, port: 5005)
        try await transfer.untilReceived(bytes / 4, within: .seconds(60))
        let recovery = try await rig.crash(name, .kill, within: .seconds(180))
        recovered = text(seconds: recovery.readySeconds)
        let result = try await transfer.result()
        silence = text(seconds: result.longestSilence)
        try await network.expectInterface(cable, mtu: largest ?? 1500)
        say("\(device) on \(image): ready \(self.ready), recovered after \(recovered), \(toWire) and \(fromWire) Mbit/s")
    }
}
