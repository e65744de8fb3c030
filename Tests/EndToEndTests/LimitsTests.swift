import ControlAPI
import ControlModel
import Foundation
import Testing

extension EndToEnd {
    @Suite struct Limits {
        @Test(.timeLimit(.minutes(10)))
        func aDriverThatRunsHotAndPrintsWithoutEndTakesNoMoreThanItMay() async throws {
            let plans = [Plan("hot", "nvme").with { $0.limits = "{ cpu: 30%, memory: 1GiB }" }, Plan("free", "nvme")]
            try await withRig("limits of CPU, memory and logs", plans) { rig in
                try await rig.up()
                // As much as the disks give, so that both machines always have something to do.
                let loads = try await ["hot", "free"].asyncMap { name in
                    try rig.start(
                        Programs.client("fio"),
                        [
                            "--name=load", "--ioengine=nbd", "--uri=\(try await rig.uri(name))", "--rw=randread", "--bs=4k",
                            "--iodepth=16", "--size=48M", "--time_based", "--runtime=60",
                        ])
                }
                try await rig.untilCompleted(200, on: "hot")
                let report = try await rig.client.report(interval: 5)
                for ddos in report.ddos {
                    say("\(ddos.name): \(String(format: "%.1f", machineShare(ddos, report) * 100)) % of one CPU for guest and VMM")
                }
                for load in loads { load.kill() }
                let hot = try #require(report.ddos.first { $0.name == "hot" })
                #expect(machineShare(hot, report) < 0.4, "30 % and the last period's overrun")
                guard let pid = try await rig.summary("hot").vmmPID else { throw Failure("hot has no VMM") }
                #expect(try Self.memoryLimit(of: pid) == "1073741824")

                let console = rig.runDirectory + "/ddos/hot/console.log"
                let guest = try #require(fopen(console, "a"), "the console is there")
                let line = "a guest that prints without end\n"
                for _ in 0..<(24 << 20) / line.utf8.count { fputs(line, guest) }
                fclose(guest)
                try await eventually("the console is cut", within: .seconds(30)) {
                    let size = try FileManager.default.attributesOfItem(atPath: console)[.size] as? Int ?? .max
                    return size <= 8 << 20 ? () : nil
                }
                #expect(try await rig.succeed("logs", "hot", "-n", "1") == line)
                try await rig.access(try await rig.uri("hot"), "write -P 0x21 0 1M", "flush", "read -P 0x21 0 1M")
                #expect(try await rig.summary("hot").restarts == 0, "limits slow it down, and end nothing")
            }
        }

        /// Share of one CPU, without the client stub: that is outside of the limit.
        private func machineShare(_ ddos: DDOSUsage, _ report: CPUReport) -> Double {
            (ddos.cpu.vcpuSeconds + ddos.cpu.vmmSeconds) / report.intervalSeconds
        }

        /// What the control group of a process says, version 1 or 2.
        private static func memoryLimit(of pid: Int32) throws -> String {
            let groups = try String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8).split(separator: "\n")
            for group in groups {
                let fields = group.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
                guard fields.count == 3 else { continue }
                let file =
                    fields[1] == "memory"
                    ? "/sys/fs/cgroup/memory\(fields[2])/memory.limit_in_bytes" : "/sys/fs/cgroup\(fields[2])/memory.max"
                // libvirt limits the machine's group; the VMM may be in one below it.
                for path in [file, file.replacingOccurrences(of: "/emulator/", with: "/")] {
                    guard let text = try? String(contentsOfFile: path, encoding: .utf8), text != "max\n" else { continue }
                    return text.trimmingCharacters(in: .newlines)
                }
            }
            throw Failure("no memory limit in the control groups of \(pid): \(groups)")
        }
    }
}

extension Array {
    fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
        var result: [Value] = []
        for element in self { result.append(try await transform(element)) }
        return result
    }
}
