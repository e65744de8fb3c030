import ControlAPI
import ControlModel
import Foundation
import Testing

extension Lab {
    @Suite struct Passthrough {
        /// The life of a real device with Drover: from its driver of the host's, through crashes, back to it.
        @Test(.timeLimit(.minutes(120)))
        func anNVMeIsTakenCrashedUnderLoadAndGivenBackWithItsData() async throws {
            try Lab.enter()
            try await withRig("an NVMe of L1's", [Lab.plan("nvme0", Lab.nvme)]) { rig in
                var rows = [Lab.header]
                try await Self.fill(rig)
                let start = ContinuousClock.now
                try await rig.up()
                rows.append([
                    "first life", Lab.seconds(since: start), try await Lab.phases(rig, "nvme0"), try Lab.resetMethod(Lab.nvme),
                    "from `drover up`",
                ])
                #expect(try await rig.client.info().accelerator == "kvm")
                #expect(Lab.driver(Lab.nvme) == "vfio-pci")
                let uri = try await rig.uri("nvme0")
                // What L1's own driver wrote is there.
                try await rig.access(uri, "read -P 0x5a 300M 8M")
                try await rig.access(uri, "write -P 0xc3 400M 4M", "flush")
                var replayed = 0
                for (round, fault) in Lab.faults.enumerated() {
                    let (row, count) = try await Self.survive(fault, round + 1, rig, uri)
                    rows.append(row)
                    replayed += count
                }
                #expect(replayed >= Lab.faults.count, "crashes have to hit requests in flight to prove anything")
                try await rig.access(uri, "read -P 0x5a 300M 8M", "read -P 0xc3 400M 4M")
                let down = ContinuousClock.now
                try await rig.succeed("down")
                rows.append(["down, given back", Lab.seconds(since: down), "-", "-", Lab.driver(Lab.nvme) ?? "no driver"])
                #expect(Lab.driver(Lab.nvme) == "nvme")
                #expect(Lab.override(Lab.nvme) == "")
                try await Self.check(rig)
                print("\n" + table(rows) + "\n")
            }
        }

        /// A pattern by L1's own driver.
        private static func fill(_ rig: Rig) async throws {
            try await Lab.run(rig, "/usr/bin/qemu-io", "-f", "raw", "-c", "write -P 0x5a 300M 8M", "-c", "flush", "/dev/nvme0n1")
        }

        /// After everything, by L1's own driver again: what it wrote, and what was written through Drover.
        private static func check(_ rig: Rig) async throws {
            _ = try await eventually("L1's disk is back", within: .seconds(20)) {
                FileManager.default.fileExists(atPath: "/dev/nvme0n1") ? true : nil
            }
            let out = try await Lab.run(
                rig, "/usr/bin/qemu-io", "-r", "-f", "raw", "-c", "read -P 0x5a 300M 8M", "-c", "read -P 0xc3 400M 4M", "/dev/nvme0n1")
            #expect(!out.contains("verification failed"), "\(out)")
        }

        private static func survive(_ fault: InjectedFault, _ round: Int, _ rig: Rig, _ uri: String) async throws -> (
            row: [String], replayed: Int
        ) {
            // Faster than the disk can: the queue is full when the crash comes.
            let workload = try Workload(rig, uri: uri, mebibytes: Self.blocks / 256, rate: 8000, backlog: 1024, seed: round)
            try await rig.untilCompleted(500, on: "nvme0", within: .seconds(120))
            guard workload.isRunning else { throw Failure("fio ended before the fault: \(try await workload.result().output)") }
            let recovery = try await rig.crash("nvme0", fault, within: .seconds(240))
            let result = try await workload.result(within: .seconds(300))
            guard result.errors == 0, result.writes == Self.blocks, result.reads == Self.blocks else {
                throw Failure(
                    "after \(fault.rawValue): \(result.writes) blocks written, \(result.reads) read of \(Self.blocks), \(result.errors) errors: \(result.output)"
                )
            }
            // Between lives the device stays with vfio-pci: the host's driver never sees what a crashed one left.
            #expect(Lab.driver(Lab.nvme) == "vfio-pci")
            say(
                "\(fault.rawValue) \(round): requests again after \(text(seconds: recovery.readySeconds)), \(recovery.replayed) replayed, no error"
            )
            let notes =
                "fenced \(text(seconds: recovery.fencedSeconds)), \(recovery.replayed) replayed, \(Self.blocks) blocks verified, slowest \(text(seconds: result.slowest))"
            let row = [
                "\(fault.rawValue) \(round)", String(format: "%.1f", recovery.readySeconds), try await Lab.phases(rig, "nvme0"),
                try Lab.resetMethod(Lab.nvme), notes,
            ]
            return (row, recovery.replayed)
        }

        /// Of 4 KiB, each written and read once around a crash.
        private static let blocks = 6144
    }
}
