import ControlAPI
import ControlModel
import Foundation
import Synchronization
import Testing

extension EndToEnd {
    @Suite struct Isolation {
        @Test(.timeLimit(.minutes(10)))
        func aDriverThatKeepsCrashingDisturbsNoOther() async throws {
            let plans = [
                Plan("crashing", "nvme"),
                Plan("quiet", "ahci").with {
                    $0.mebibytes = 128
                    // A neighbour that dies and boots beside it takes most of two processors; that is no fault of this one.
                    $0.requests = "{ deadline: 30s, whileDown: hold, pingTimeout: 8s }"
                },
            ]
            try await withRig("one DD/OS crashes again and again", plans) { rig in
                try await rig.up()
                // At work over all of it, however long that takes.
                let quietURI = try await rig.uri("quiet")
                let enough = Mutex(false)
                async let results = Self.workloads(until: { enough.withLock { $0 } }, rig, quietURI)
                defer { enough.withLock { $0 = true } }
                let uri = try await rig.uri("crashing")
                try await rig.untilCompleted(200, on: "quiet")
                // Alternately, so that whatever else the machine does meets both.
                var undisturbed: [Double] = []
                var disturbed: [Double] = []
                let faults: [InjectedFault] = [.kill, .panic, .kill]
                for (round, fault) in faults.enumerated() {
                    undisturbed.append(try await Self.rate(of: "quiet", rig) { try await Task.sleep(for: .seconds(4)) })
                    let workload = try Workload(rig, uri: uri, mebibytes: 4, rate: 500, seed: round + 1)
                    try await rig.untilCompleted(200, on: "crashing")
                    disturbed.append(
                        try await Self.rate(of: "quiet", rig) {
                            let recovery = try await rig.crash("crashing", fault)
                            say("crashing: \(fault.rawValue), recovered after \(text(seconds: recovery.readySeconds))")
                        })
                    let result = try await workload.result()
                    #expect(result.errors == 0, "\(result.output)")
                }
                let (alone, beside) = (undisturbed.sorted()[1], disturbed.sorted()[1])
                say("quiet: \(Int(alone)) requests a second undisturbed, \(Int(beside)) while its neighbour crashes and comes back")
                #expect(beside >= alone / 2, "\(undisturbed) \(disturbed)")
                enough.withLock { $0 = true }
                let quiet = try await results
                for result in quiet { #expect(result.errors == 0, "\(result.output)") }
                let failures = try await rig.client.inspect("quiet").failures
                let summary = try await rig.summary("quiet")
                #expect(summary.restarts == 0 && summary.generation == 1, "\(failures.map(\.reason))")
                let (writes, reads) = quiet.reduce((0, 0)) { ($0.0 + $1.writes, $0.1 + $1.reads) }
                let slowest = quiet.map(\.slowest).max() ?? 0
                say("quiet: \(writes) writes, \(reads) verified, the slowest request took \(text(seconds: slowest))")
                print(try await rig.succeed("report"))
            }
        }

        /// One verified workload after the other.
        private static func workloads(until isEnough: @Sendable () -> Bool, _ rig: Rig, _ uri: String) async throws -> [Workload.Result] {
            var results: [Workload.Result] = []
            while !isEnough() {
                let workload = try Workload(rig, uri: uri, mebibytes: 24, rate: 400, backlog: 1024, seed: results.count + 1)
                results.append(try await workload.result())
            }
            return results
        }

        /// Requests a second that were completed while something happened.
        private static func rate(of name: String, _ rig: Rig, during body: () async throws -> Void) async throws -> Double {
            let clock = ContinuousClock()
            let (before, start) = (try await rig.client.inspect(name).requests?.completed ?? 0, clock.now)
            try await body()
            let (after, end) = (try await rig.client.inspect(name).requests?.completed ?? 0, clock.now)
            return Double(after - before) / (start.duration(to: end) / .seconds(1))
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
