import ControlAPI
import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct Quarantine {
        @Test(.timeLimit(.minutes(10)))
        func aDDOSThatFailsTooOftenIsQuarantinedItsClientsGetErrorsAndAStartBringsItBack() async throws {
            let plan = Plan("nvme0", "nvme").with {
                $0.restart = "{ backoff: 0.2s..1s, quarantine: { failures: 2, within: 5min }, onQuarantine: fail }"
            }
            try await withRig("quarantine", [plan]) { rig in
                try await rig.up()
                let uri = try await rig.uri("nvme0")
                try await rig.access(uri, "write -P 0x77 40M 1M", "flush")
                _ = try await rig.crash("nvme0", .panic)

                let held = try Workload(rig, uri: uri, mebibytes: 32, rate: 500)
                try await rig.untilCompleted(200, on: "nvme0")
                let sequence = await rig.events.last
                try await rig.succeed("inject", "nvme0", "panic")
                let event = try await rig.events.wait(.quarantined, of: "nvme0", after: sequence, within: .seconds(60))
                say("nvme0: \(event.message)")
                let detail = try await rig.client.inspect("nvme0")
                #expect(detail.summary.phase == .quarantined)
                #expect(detail.summary.status.contains("quarantined after 2 failures within"))
                #expect(detail.failures.count == 2)
                #expect(detail.failures.allSatisfy { $0.cause == .panic })
                #expect(detail.failures.allSatisfy { $0.reason.contains("NMI") }, "the kernel's own words: \(detail.failures)")
                #expect(detail.summary.status.contains("NMI"))
                let panic = "Kernel panic - not syncing"
                #expect(detail.lastConsoleLines.contains { $0.contains(panic) }, "\(detail.lastConsoleLines)")
                let inspected = try await rig.succeed("inspect", "nvme0")
                #expect(inspected.contains("last lines of the console") && inspected.contains(panic), "'drover inspect' shows them")

                let failed = try await held.result(within: .seconds(60))
                #expect(failed.errors > 0, "requests that wait get an error, not silence")
                let refused = try await rig.qemuIO(uri, "read 0 4k", within: .seconds(30))
                #expect(refused.status != 0 || refused.out.contains("failed"), "new requests get an error: \(refused.out)")
                let conflict = try await rig.drover("inject", "nvme0", "kill")
                #expect(conflict.status == 5)
                say("clients: \(refused.error.isEmpty ? refused.out : refused.error)".trimmingCharacters(in: .newlines))

                try await rig.succeed("start", "nvme0")
                try await rig.access(try await rig.uri("nvme0"), "read -P 0x77 40M 1M", "write -P 0x78 41M 1M", "read -P 0x78 41M 1M")
                #expect(try await rig.summary("nvme0").phase == .ready)
                say("'drover start' brought it back, with its data")
            }
        }
    }
}
