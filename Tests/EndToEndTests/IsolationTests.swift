import ControlAPI
import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct Isolation {
        @Test(.timeLimit(.minutes(10)))
        func aDriverThatKeepsCrashingDisturbsNoOther() async throws {
            let plans = [Plan("crashing", "nvme"), Plan("quiet", "ahci").with { $0.mebibytes = 128 }]
            try await withRig("one DD/OS crashes again and again", plans) { rig in
                try await rig.up()
                let quiet = try Workload(rig, uri: try await rig.uri("quiet"), mebibytes: 56, rate: 400, backlog: 1024)
                let uri = try await rig.uri("crashing")
                let faults: [InjectedFault] = [.kill, .panic, .kill]
                for (round, fault) in faults.enumerated() {
                    let workload = try Workload(rig, uri: uri, mebibytes: 4, rate: 500, seed: round + 1)
                    try await rig.untilCompleted(200, on: "crashing")
                    let recovery = try await rig.crash("crashing", fault)
                    let result = try await workload.result()
                    #expect(result.errors == 0, "\(result.output)")
                    say("crashing: \(fault.rawValue), recovered after \(text(seconds: recovery.readySeconds))")
                }
                #expect(quiet.isRunning, "the quiet one has to be at work over all of it")
                let result = try await quiet.result()
                #expect(result.errors == 0, "\(result.output)")
                let summary = try await rig.summary("quiet")
                #expect(summary.restarts == 0)
                #expect(summary.generation == 1)
                say("quiet: \(result.writes) writes, \(result.reads) verified, the slowest request took \(text(seconds: result.slowest))")
                print(try await rig.succeed("report"))
            }
        }

        @Test(.timeLimit(.minutes(15)))
        func twoKernelVersionsRunSideBySide() async throws {
            let plans = [
                Plan("old", "nvme").with { $0.image = "debian-6.1" }, Plan("new", "nvme").with { $0.image = "debian-6.12" },
            ]
            try await withRig("two kernels", plans) { rig in
                try await rig.up()
                for (name, version) in [("old", "6.1."), ("new", "6.12.")] {
                    try await rig.access(try await rig.uri(name), "write -P 0x11 0 4M", "flush", "read -P 0x11 0 4M")
                    let detail = try await rig.client.inspect(name)
                    #expect(detail.kernelVersion?.hasPrefix(version) == true, "\(detail.kernelVersion ?? "none")")
                    let console = try await rig.succeed("logs", name)
                    #expect(console.contains("Linux version \(version)"), "the console of \(name)")
                    say("\(name): kernel \(detail.kernelVersion ?? "-")")
                }
            }
        }
    }
}
