import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct Faults {
        static let rounds = ProcessInfo.processInfo.environment["DROVER_FAULT_ROUNDS"].flatMap { Int($0) } ?? 10

        /// One DD/OS lives through all of it: whatever a recovery leaks or forgets adds up.
        @Test(.timeLimit(.minutes(30)))
        func nothingIsLostAndNoClientSeesAnErrorOverManyPanicsKillsAndHangs() async throws {
            try await withRig("\(Self.rounds) panics, kills and hangs each", [Plan("nvme0", "nvme")]) { rig in
                try await rig.up()
                let uri = try await rig.uri("nvme0")
                try await rig.access(uri, "write -P 0x3c 40M 8M", "flush")
                let stub = try await rig.summary("nvme0").stubPID
                var rows = [["fault", "rounds", "fastest", "slowest", "replayed", "writes", "reads", "slowest request", "errors"]]
                for fault in [InjectedFault.panic, .kill, .hang] {
                    rows.append(try await Self.repeatedly(fault, rig, uri))
                }
                try await rig.access(uri, "read -P 0x3c 40M 8M")
                let summary = try await rig.summary("nvme0")
                #expect(summary.restarts == 3 * Self.rounds)
                #expect(summary.generation == UInt64(3 * Self.rounds + 1))
                #expect(summary.stubPID == stub, "the client stub outlives its DD/OS's lives")
                print("\n" + table(rows) + "\n")
            }
        }

        private static func repeatedly(_ fault: InjectedFault, _ rig: Rig, _ uri: String) async throws -> [String] {
            var seconds: [Double] = []
            var replayed = 0
            var writes = 0
            var reads = 0
            var slowest = 0.0
            for round in 1...rounds {
                let workload = try Workload(rig, uri: uri, mebibytes: 16, rate: 4000, backlog: 512, seed: round)
                // Different moments of 8192 requests: while it only writes, while it writes and verifies, while it only verifies.
                let moment = 300 + 5000 * (Double(round) * 0.618).truncatingRemainder(dividingBy: 1)
                try await rig.untilCompleted(UInt64(moment), on: "nvme0")
                guard workload.isRunning else {
                    throw Failure("fio ended before the fault: \(try await workload.result().output)")
                }
                let recovery = try await rig.crash("nvme0", fault)
                let result = try await workload.result()
                guard result.errors == 0 else {
                    throw Failure("round \(round) of \(fault.rawValue): \(result.errors) errors or mismatches: \(result.output)")
                }
                guard result.writes == 4096, result.reads == 4096 else {
                    throw Failure("round \(round) of \(fault.rawValue): \(result.writes) blocks written and \(result.reads) read, not 4096")
                }
                say(
                    "\(fault.rawValue) \(round): old VM gone after \(text(seconds: recovery.fencedSeconds)), requests again after "
                        + "\(text(seconds: recovery.readySeconds)), \(recovery.replayed) replayed, no error")
                #expect(recovery.cause == Self.cause(of: fault))
                seconds.append(recovery.readySeconds)
                replayed += recovery.replayed
                writes += result.writes
                reads += result.reads
                slowest = max(slowest, result.slowest)
            }
            #expect(replayed > 0, "faults have to hit requests in flight to prove anything")
            return [
                fault.rawValue, "\(rounds)", text(seconds: seconds.min() ?? 0), text(seconds: seconds.max() ?? 0), "\(replayed)",
                "\(writes)", "\(reads)", text(seconds: slowest), "0",
            ]
        }

        private static func cause(of fault: InjectedFault) -> FailureCause {
            switch fault {
            case .panic: .panic
            case .kill: .vmmGone
            case .hang: .hang
            }
        }
    }
}
