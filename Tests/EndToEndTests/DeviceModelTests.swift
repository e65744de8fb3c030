import ControlAPI
import ControlModel
import Foundation
import Glibc
import Testing

extension EndToEnd {
    @Suite struct DeviceModels {
        /// What the configuration calls it, and the kernel's driver that has to be the one that drives it.
        static let models: [(model: String, driver: String)] = [
            ("nvme", "nvme"), ("ahci", "ahci"), ("sym53c8xx", "sym53c8xx"),
            ("megaraid_sas", "megaraid_sas"), ("vmw_pvscsi", "vmw_pvscsi"), ("virtio_blk", "virtio_blk"),
            ("virtio_scsi", "virtio_scsi"), ("sdhci", "sdhci-pci"), ("usb-storage", "usb-storage"),
        ]

        /// Debian's own kernel, and one built from its source for the one device. The first life of the latter compiles it, if the unit tests
        /// have not.
        @Test(.timeLimit(.minutes(45)), arguments: ["debian-6.1", "lean-6.1"])
        func everyDriverServesVerifiedDataAndRecoversFromAKillOfItsVMM(_ image: String) async throws {
            var rows = [["image", "model", "driver", "memory", "size", "ready after", "recovered after", "replayed", "verdict"]]
            // Three at a time: as many virtual machines as two CPUs boot in reasonable time.
            for first in stride(from: 0, to: Self.models.count, by: 3) {
                let batch = Self.models[first..<min(first + 3, Self.models.count)]
                let plans = batch.map { Plan($0.model, $0.model).with { $0.image = image } }
                try await withRig("drivers on \(image): \(batch.map(\.model).joined(separator: ", "))", plans) { rig in
                    try await rig.succeed("up", "-f", rig.configurationFile, "--no-wait")
                    let results = await withTaskGroup(of: (String, Trial).self) { group in
                        for (model, _) in batch { group.addTask { (model, await Trial.run(model, rig)) } }
                        return await group.reduce(into: [String: Trial]()) { $0[$1.0] = $1.1 }
                    }
                    for (model, driver) in batch {
                        guard let trial = results[model] else { continue }
                        #expect(
                            trial.drivers.components(separatedBy: ", ").contains(driver),
                            "the guest's drivers for \(model): \(trial.drivers)")
                        #expect(trial.replayedInAll >= 8, "the kills of \(model)'s VMM have to hit requests in flight")
                        rows.append(
                            [
                                image, model, trial.drivers, trial.memory, trial.size, trial.ready, trial.recovered, trial.replayed,
                                trial.verdict,
                            ])
                        #expect(trial.verdict == "ok", "\(model) on \(image)")
                    }
                }
            }
            print("\n" + table(rows) + "\n")
        }
    }
}

/// One driver's row.
private struct Trial {
    /// As the guest's sysfs has them.
    var drivers = "-"
    var memory = "-"
    var size = "-"
    var ready = "-"
    var recovered = "-"
    var replayed = "-"
    var replayedInAll = 0
    var verdict = "ok"

    private static let kills = 2

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
        let ready = try await rig.events.wait(.ready, of: name, after: 0, within: .seconds(2400))
        let started = try await rig.events.wait(.started, of: name, after: 0, within: .seconds(1))
        let seconds = ready.time.timeIntervalSince(started.time)
        self.ready = text(seconds: seconds)
        say("\(name): ready \(text(seconds: seconds)) after its VM started")
        let detail = try await rig.client.inspect(name)
        memory = "\(detail.memoryMiB) MiB"
        // The image is the one asked for: a lean recipe falls back to a stock kernel where it has no driver.
        guard (detail.kernelVersion?.hasSuffix("-amd64") ?? true) == detail.summary.image.hasPrefix("debian") else {
            throw Failure("runs kernel \(detail.kernelVersion ?? "?") on image \(detail.summary.image)")
        }
        let log = await rig.events.of(name, after: 0).filter { $0.kind == .guestLog }.map(\.message)
        guard let found = log.compactMap({ $0.components(separatedBy: "; driven by ").dropFirst().first }).first else {
            throw Failure("the guest does not say what drives its disk: \(log)")
        }
        drivers = found
        guard let disk = detail.summary.disks.first else { throw Failure("offers no disk") }
        size = "\(disk.size >> 20) MiB"
        guard disk.size == 64 << 20 else { throw Failure("the disk has \(disk.size) bytes") }
        let uri = try await rig.uri(name)
        try await rig.access(uri, "write -P 0xa5 32M 1M", "flush", "read -P 0xa5 32M 1M")

        let workload = try Workload(rig, uri: uri, mebibytes: 24, rate: 2000, backlog: 1024)
        var slowest = 0.0
        for _ in 1...Self.kills {
            try await rig.untilCompleted(200, on: name)
            guard workload.isRunning else { throw Failure("fio ended before the kill") }
            // Each kill finds the queue full, however fast the driver is.
            guard let pid = try await rig.summary(name).vmmPID else { throw Failure("\(name) has no VMM") }
            try await Self.fillQueue(of: name, stopping: pid, rig)
            let recovery = try await rig.crash(name, .kill, within: .seconds(180))
            slowest = max(slowest, recovery.readySeconds)
            replayedInAll += recovery.replayed
            say("\(name): recovered after \(text(seconds: recovery.readySeconds)), \(recovery.replayed) replayed")
        }
        recovered = text(seconds: slowest)
        replayed = "\(replayedInAll)"
        let result = try await workload.result()
        guard result.errors == 0 else { throw Failure("\(result.errors) errors or mismatches: \(result.output)") }
        guard result.writes == 6144, result.reads == 6144 else {
            throw Failure("fio wrote \(result.writes) blocks and read \(result.reads) of 6144")
        }
        try await rig.access(uri, "read -P 0xa5 32M 1M")
        say("\(name): \(result.writes) writes verified, the slowest request took \(text(seconds: result.slowest))")
    }

    /// Holds the machine until fio has 32 requests under way; it stands still when this returns.
    ///
    /// fio waits for all it has sent before it sleeps for its rate's sake, and would wait with the machine for ever: then the machine goes on for a
    /// moment, and fio, now late, does not sleep again.
    private static func fillQueue(of name: String, stopping pid: Int32, _ rig: Rig) async throws {
        for _ in 1...10 {
            kill(pid, SIGSTOP)
            let end = ContinuousClock.now + .milliseconds(700)
            while ContinuousClock.now < end {
                if try await rig.client.inspect(name).requests?.inFlight ?? 0 >= 32 { return }
                try await Task.sleep(for: .milliseconds(20))
            }
            kill(pid, SIGCONT)
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Failure("the queue of \(name) was never full")
    }
}
