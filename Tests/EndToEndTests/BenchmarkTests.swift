import Foundation
import Glibc
import Testing

extension EndToEnd {
    @Suite struct Benchmark {
        /// Somebody loses patience with a benchmark: its DD/OS, its supervisor, its interfaces and its files go with it.
        @Test(.timeLimit(.minutes(5)))
        func aSignalEndsItAndWhatItStarted() async throws {
            try await withRig("an interrupted benchmark", [Plan("nvme0", "nvme")]) { rig in
                let bench = try await Self.running(rig)
                let interrupted = ContinuousClock.now
                kill(bench.pid, SIGTERM)
                let end = try await bench.finish(within: .seconds(90))
                #expect(end.status == 128 + SIGTERM, "\(end.out) \(end.error)")
                let left = Self.leftovers(of: bench.pid)
                #expect(left.isEmpty, "left behind: \(left)")
                say("everything was gone \(text(seconds: interrupted.duration(to: .now) / .seconds(1))) after the signal")
            }
        }

        /// Nobody could take anything away before it was gone.
        @Test(.timeLimit(.minutes(5)))
        func whatAKilledOneLeftTheNextTakesAway() async throws {
            try await withRig("a killed benchmark", [Plan("nvme0", "nvme")]) { rig in
                let bench = try await Self.running(rig)
                kill(bench.pid, SIGKILL)
                _ = try await bench.finish(within: .seconds(10))
                #expect(!Self.leftovers(of: bench.pid).isEmpty)
                let next = try rig.start(
                    "\(rig.programs.folder)/drover-bench",
                    ["--servers", "drover", "--no-machine", "--only", "4 KiB", "--rounds", "1", "--seconds", "0.2", "--size", "16"])
                let end = try await next.finish(within: .seconds(120))
                #expect(end.error.contains("taking away what run \(bench.pid), which was killed, has left"), "\(end.status) \(end.error)")
                let left = Self.leftovers(of: bench.pid)
                #expect(left.isEmpty, "left behind: \(left)")
            }
        }

        /// One with a network card in a DD/OS, which has everything that a benchmark can have.
        private static func running(_ rig: Rig) async throws -> RunningCommand {
            let bench = try rig.start("\(rig.programs.folder)/drover-bench", ["memory", "--devices", "tulip"])
            let tag = "need\(bench.pid)"
            _ = try await eventually("the benchmark's machine runs", within: .seconds(120)) {
                guard bench.isRunning else { throw Failure("it has ended: \(bench.errorSoFar)") }
                return commandLines().contains { $0.contains("qemu") && $0.contains(tag) } ? true : nil
            }
            #expect(!leftovers(of: bench.pid).isEmpty, "there is something to take away")
            return bench
        }

        private static func leftovers(of pid: pid_t) -> [String] {
            func names(_ folder: String, _ isOurs: (String) -> Bool) -> [String] {
                ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter(isOurs).map { "\(folder)/\($0)" }
            }
            let supervisors = commandLines().filter { $0.contains("need\(pid)") || $0.contains("/drover-bench-\(pid)-") }
            return supervisors + names("/run/netns") { $0.hasPrefix("drover-bench-\(pid)-") }
                + names("/sys/class/net") { $0.hasPrefix("w\(pid)") || $0 == "dr-b\(pid)" }
                + (["/tmp", "/dev/shm"].flatMap { names($0) { $0.hasPrefix("drover-bench-\(pid)-") } })
        }

        private static func commandLines() -> [String] {
            ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).filter { Int($0) != nil }.compactMap {
                FileManager.default.contents(atPath: "/proc/\($0)/cmdline").map {
                    String(decoding: $0, as: UTF8.self).replacing("\0", with: " ")
                }
            }
        }
    }
}
