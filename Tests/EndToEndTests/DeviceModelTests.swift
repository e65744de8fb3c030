import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct DeviceModels {
        /// What the configuration calls it, and the modules of Debian's that drive it.
        static let models: [(model: String, driver: String)] = [
            ("nvme", "nvme"), ("ahci", "ahci"), ("sym53c8xx", "sym53c8xx"),
            ("megaraid_sas", "megaraid_sas"), ("vmw_pvscsi", "vmw_pvscsi"), ("virtio_blk", "virtio_blk"),
            ("virtio_scsi", "virtio_scsi"), ("sdhci", "sdhci-pci"), ("usb-storage", "xhci_pci, usb-storage"),
        ]

        @Test(.timeLimit(.minutes(15)))
        func everyDriverServesVerifiedDataAndRecoversFromAKillOfItsVMM() async throws {
            var rows = [["model", "driver", "size", "ready after", "recovered after", "replayed", "verdict"]]
            // Three at a time: as many virtual machines as two CPUs boot in reasonable time.
            for first in stride(from: 0, to: Self.models.count, by: 3) {
                let batch = Self.models[first..<min(first + 3, Self.models.count)]
                let plans = batch.map { Plan($0.model, $0.model) }
                try await withRig("drivers: \(batch.map(\.model).joined(separator: ", "))", plans) { rig in
                    try await rig.succeed("up", "-f", rig.configurationFile, "--no-wait")
                    let results = await withTaskGroup(of: (String, Trial).self) { group in
                        for (model, _) in batch { group.addTask { (model, await Trial.run(model, rig)) } }
                        return await group.reduce(into: [String: Trial]()) { $0[$1.0] = $1.1 }
                    }
                    for (model, driver) in batch {
                        guard let trial = results[model] else { continue }
                        rows.append([model, driver, trial.size, trial.ready, trial.recovered, trial.replayed, trial.verdict])
                        #expect(trial.verdict == "ok", "\(model)")
                    }
                }
            }
            print("\n" + table(rows) + "\n")
        }
    }
}

/// One driver's row.
private struct Trial {
    var size = "-"
    var ready = "-"
    var recovered = "-"
    var replayed = "-"
    var verdict = "ok"

    static func run(_ name: String, _ rig: Rig) async -> Trial {
        var trial = Trial()
        do {
            try await trial.run(name, rig)
        } catch {
            trial.verdict = "\(error)"
            say("\(name): \(error)")
        }
        return trial
    }

    private mutating func run(_ name: String, _ rig: Rig) async throws {
        let ready = try await rig.events.wait(.ready, of: name, after: 0, within: .seconds(900))
        let started = try await rig.events.wait(.started, of: name, after: 0, within: .seconds(1))
        let seconds = ready.time.timeIntervalSince(started.time)
        self.ready = text(seconds: seconds)
        say("\(name): ready \(text(seconds: seconds)) after its VM started")
        guard let disk = try await rig.summary(name).disks.first else { throw Failure("offers no disk") }
        size = "\(disk.size >> 20) MiB"
        guard disk.size == 64 << 20 else { throw Failure("the disk has \(disk.size) bytes") }
        let uri = try await rig.uri(name)
        try await rig.access(uri, "write -P 0xa5 32M 1M", "flush", "read -P 0xa5 32M 1M")

        let workload = try Workload(rig, uri: uri, mebibytes: 8, rate: 400)
        try await rig.untilCompleted(200, on: name)
        guard workload.isRunning else { throw Failure("fio ended before the kill") }
        let recovery = try await rig.crash(name, .kill, within: .seconds(180))
        recovered = text(seconds: recovery.readySeconds)
        replayed = "\(recovery.replayed)"
        say("\(name): recovered after \(text(seconds: recovery.readySeconds)), \(recovery.replayed) replayed")
        let result = try await workload.result()
        guard result.errors == 0 else { throw Failure("\(result.errors) errors or mismatches: \(result.output)") }
        guard result.writes == 2048, result.reads == 2048 else {
            throw Failure("fio wrote \(result.writes) blocks and read \(result.reads) of 2048")
        }
        try await rig.access(uri, "read -P 0xa5 32M 1M")
        say("\(name): \(result.writes) writes verified, the slowest request took \(text(seconds: result.slowest))")
    }
}
