import Foundation
import Testing

extension Lab {
    /// SIGKILL of droverd after each step of taking a device and of giving it back.
    @Suite struct KilledSupervisor {
        static let taking = ["journalled", "overridden", "unbound", "bound", "taken"]
        static let giving = ["givingJournalled", "released", "overrideRestored", "rebound", "forgotten"]

        @Test(.timeLimit(.minutes(30)))
        func whateverStepItDiesAfterTheNextOneLeavesNoDeviceWithoutADriver() async throws {
            try Lab.enter()
            // A configuration that has no use for the device.
            let idle = Plan("other0", "nvme").with { $0.autostart = false }
            try await withRig("SIGKILL of droverd between steps", [Lab.plan("nvme0", Lab.nvme)]) { rig in
                var rows = [["killed after", "found on", "next run"]]
                for step in Self.taking {
                    try rig.write([Lab.plan("nvme0", Lab.nvme)])
                    let found = try await Self.die(rig, after: step)
                    try rig.write([idle])
                    rows.append(["taking: \(step)", found, try await Self.settle(rig)])
                }
                for step in Self.giving {
                    try rig.write([Lab.plan("nvme0", Lab.nvme)])
                    _ = try await Self.die(rig, after: "taken")
                    try rig.write([idle])
                    let found = try await Self.die(rig, after: step)
                    rows.append(["giving: \(step)", found, try await Self.settle(rig)])
                }
                // The next one has the same use for it: it finishes.
                try rig.write([Lab.plan("nvme0", Lab.nvme)])
                let half = try await Self.die(rig, after: "unbound")
                let start = ContinuousClock.now
                try await rig.up()
                rows.append([
                    "taking: unbound", half,
                    "\(Lab.driver(Lab.nvme) ?? "none"), ready after \(text(seconds: start.duration(to: .now) / .seconds(1)))",
                ])
                #expect(Lab.driver(Lab.nvme) == "vfio-pci")
                try await rig.succeed("down")
                #expect(Lab.driver(Lab.nvme) == "nvme")
                // And without a supervisor.
                try rig.write([Lab.plan("nvme0", Lab.nvme)])
                let found = try await Self.die(rig, after: "unbound")
                try await rig.succeed("release", Lab.nvme)
                rows.append(["taking: unbound", found, "drover release: \(Lab.driver(Lab.nvme) ?? "none")"])
                #expect(Lab.driver(Lab.nvme) == "nvme")
                #expect(Lab.override(Lab.nvme) == "")
                print("\n" + table(rows) + "\n")
            }
        }

        /// Starts a droverd that kills itself after a step, and waits until it is gone. Returns the driver that has the device then.
        private static func die(_ rig: Rig, after step: String) async throws -> String {
            let command = try rig.start(
                "/usr/bin/env",
                ["DROVER_DIE_AFTER=\(step)", rig.programs.droverd, "--config", rig.configurationFile, "--run-dir", rig.runDirectory])
            _ = try await eventually("droverd is dead after the step \(step)", within: .seconds(120)) { command.isRunning ? nil : true }
            let found = Lab.driver(Lab.nvme) ?? "none"
            say("killed after '\(step)': the device's driver is \(found)")
            return found
        }

        /// The next supervisor.
        private static func settle(_ rig: Rig) async throws -> String {
            let start = ContinuousClock.now
            try await rig.succeed("up", "-f", rig.configurationFile)
            // Done before the API answers for a DD/OS: `up` returned.
            _ = try await eventually("the device is back", within: .seconds(30)) { Lab.driver(Lab.nvme) == "nvme" ? true : nil }
            #expect(Lab.override(Lab.nvme) == "")
            let left = (try? FileManager.default.contentsOfDirectory(atPath: rig.runDirectory + "/devices")) ?? []
            try await rig.succeed("down")
            #expect(left.filter { $0.hasSuffix(".json") } == [])
            return "nvme, after \(text(seconds: start.duration(to: .now) / .seconds(1)))"
        }
    }
}
