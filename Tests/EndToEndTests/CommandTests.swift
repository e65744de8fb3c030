import ControlAPI
import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct Commands {
        /// What README.md promises to programs: these keys stay.
        private static let summaryKeys: Set<String> = [
            "name", "phase", "status", "deviceClass", "device", "image", "generation", "restarts", "uptimeSeconds", "vmmPID", "stubPID",
            "disks", "frontEnds",
        ]

        @Test(.timeLimit(.minutes(10)))
        func everyCommandServesPeopleAndPrograms() async throws {
            try await withRig("every command", [Plan("nvme0", "nvme")]) { rig in
                try await rig.up()
                try await rig.access(try await rig.uri("nvme0"), "write -P 0x31 0 1M", "flush")
                let list = try #require(try Self.parse(try await rig.succeed("ps", "--json")) as? [[String: Any]])
                #expect(Self.summaryKeys.isSubset(of: list[0].keys))
                #expect(try await rig.succeed("ps", "--names") == "nvme0\n")
                let detail = try #require(try Self.parse(try await rig.succeed("inspect", "nvme0", "--json")) as? [String: Any])
                let detailKeys: Set = [
                    "summary", "memoryMiB", "vcpus", "cid", "accelerator", "imageHash", "kernelVersion", "settings", "consoleLog",
                    "stubLog",
                    "requests", "failures", "recoveries", "lastConsoleLines", "lastStart",
                ]
                #expect(detailKeys.isSubset(of: detail.keys))
                try await Self.expectStart(rig, "nvme0", life: 1)
                let report = try #require(
                    try Self.parse(try await rig.succeed("report", "--interval", "0.5", "--json")) as? [String: Any])
                #expect(Set(["time", "intervalSeconds", "processors", "ddos", "supervisor", "mean", "total"]).isSubset(of: report.keys))
                for line in try await rig.succeed("events", "--json").split(separator: "\n") {
                    let event = try #require(try Self.parse(String(line)) as? [String: Any])
                    #expect(Set(["sequence", "time", "kind", "message"]).isSubset(of: event.keys))
                }
                let findings = try #require(try Self.parse(try await rig.drover("doctor", "--json").out) as? [[String: Any]])
                #expect(findings.allSatisfy { Set(["subject", "state", "text"]).isSubset(of: $0.keys) })
                #expect(findings.contains { $0["subject"] as? String == "control groups" })
                let lines = try await rig.succeed("logs", "nvme0", "-n", "3")
                #expect(lines.split(whereSeparator: \.isNewline).count == 3, "\(lines.debugDescription)")

                let stopped = try await rig.succeed("stop", "nvme0")
                #expect(stopped == "nvme0 is stopped\n")
                #expect(try await rig.drover("inject", "nvme0", "kill").status == 5)
                #expect(try await rig.drover("inject", "nvme0", "sneeze").status == 64)
                #expect(try await rig.drover("report", "--interval", "0").status == 64)
                try await rig.succeed("start", "nvme0")
                try await rig.succeed("restart", "nvme0")
                try await Self.expectStart(rig, "nvme0", life: 3)
                try await rig.access(try await rig.uri("nvme0"), "read -P 0x31 0 1M")
                try Self.expectOnlyLogLines(rig.runDirectory + "/droverd.log")
            }
        }

        /// `drover inspect` says where the time of the latest start went, and leaves none of it out.
        private static func expectStart(_ rig: Rig, _ name: String, life: UInt64) async throws {
            let start = try #require(try await rig.client.inspect(name).lastStart)
            #expect(start.generation == life)
            // A kernel boots in tens of milliseconds at best; nothing takes less than no time.
            #expect(start.vmm > 0.01 && start.kernel > 0.01 && start.steps.allSatisfy { $0.seconds >= 0 })
            let events = await rig.events.of(name, after: 0)
            let ready = try #require(events.last { $0.kind == .ready })
            let started = try #require(events.last { $0.kind == .started })
            let inGuest = start.kernel + start.initialization + start.probe + start.connection + start.session
            #expect(inGuest < ready.time.timeIntervalSince(started.time) + start.vmm)
            let text = try await rig.succeed("inspect", name)
            #expect(text.contains("life \(life), "))
            for step in start.steps { #expect(text.contains("  \(step.name): "), "inspect leaves '\(step.name)' out") }
        }

        @Test(.timeLimit(.minutes(1)))
        func helpFitsATerminalAndShellsGetTheirCompletions() async throws {
            try await withRig("help and completion", [Plan("nvme0", "nvme")]) { rig in
                let help = try await rig.start(rig.programs.drover, ["--help"]).finish(within: .seconds(20))
                #expect(help.status == 0)
                #expect(help.out.split(separator: "\n").allSatisfy { $0.count <= 80 })
                // As written, not wrapped.
                #expect(help.out.contains("\n  drover up -f Configs/demo.yaml   start droverd and every DD/OS\n"))
                for shell in ["bash", "zsh", "fish"] {
                    let script = try await rig.start(rig.programs.drover, ["--generate-completion-script", shell]).finish(
                        within: .seconds(20))
                    #expect(script.status == 0 && script.out.contains("drover ps --names"), "names of DD/OSs are completed in \(shell)")
                }
            }
        }

        /// Without a recipe it is the default's; what no device is, or is not there, is told.
        @Test(.timeLimit(.minutes(20)))
        func anImageIsBuiltForWhateverNamesADevice() async throws {
            try await withRig("images", [Plan("nvme0", "nvme")]) { rig in
                func image(_ words: String...) async throws -> RunningCommand.Output {
                    try await rig.start(rig.programs.drover, ["image"] + words).finish(within: .seconds(900))
                }
                let built = try await image("build", "--for", "nvme", "--json")
                try #require(built.status == 0, "\(built.error)")
                let manifest = try #require(try Self.parse(built.out) as? [String: Any])
                #expect(manifest["recipe"] as? String == "lean-6.1")
                let same = try await image("build", "lean-6.1", "--for", "nvme", "--json")
                #expect(same.out == built.out)
                let hash = try #require(manifest["hash"] as? String)
                let text = try await image("inspect", String(hash.prefix(12)))
                #expect(text.status == 0 && text.out.contains("base, nvme"), "\(text.out)\(text.error)")
                let model = try await image("build", "--for", "floppy")
                #expect(model.status == 2 && model.error.contains("'floppy'") && model.error.contains("virtio_blk"), "\(model.error)")
                let address = try await image("build", "--for", "00ff:ff:1f.7")
                #expect(address.status == 4 && address.error.contains("00ff:ff:1f.7"), "\(address.error)")
                let recipe = try await image("build", "lean-0.1", "--for", "nvme")
                #expect(recipe.status == 4 && recipe.error.contains("lean-0.1"), "\(recipe.error)")
            }
        }

        /// libvirt and QEMU print much; none of it belongs between the supervisor's own lines.
        private static func expectOnlyLogLines(_ path: String) throws {
            for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
                #expect(line.contains(/^\d{4}-\d\d-\d\dT\S+ (info|notice|warning|error) droverd:/), "\(line)")
            }
        }

        private static func parse(_ text: String) throws -> Any { try JSONSerialization.jsonObject(with: Data(text.utf8)) }
    }
}
