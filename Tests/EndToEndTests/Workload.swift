import ControlAPI
import ControlModel
import Foundation

/// fio on an NBD export: every block is written once, in random order, and read back and checked, some of it while writing goes on. A
/// lost, torn or misplaced write is a mismatch; an I/O error that a client sees is an error.
struct Workload {
    struct Result {
        var writes: Int
        var reads: Int
        /// Errors and mismatches.
        var errors: Int
        /// The longest that any request took, seconds.
        var slowest: Double
        var output: String
    }

    let command: RunningCommand
    private let report: String

    /// - Parameters:
    ///   - rate: Reads and writes a second each, at most, so that there is a middle to break something in.
    ///   - backlog: Blocks written before they are read back in between; 0: all are read at the end.
    init(_ rig: Rig, uri: String, mebibytes: Int, rate: Int, backlog: Int = 0, depth: Int = 32, seed: Int = 7) throws {
        report = "\(rig.dataDirectory)/fio-\(UUID().uuidString.prefix(8)).json"
        var arguments = [
            "--name=verified", "--ioengine=nbd", "--uri=\(uri)", "--rw=randwrite", "--bs=4k", "--iodepth=\(depth)",
            "--size=\(mebibytes)M",
            "--rate_iops=\(rate),\(rate)", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--verify_state_save=0",
            "--randseed=\(seed)", "--output-format=json", "--output=\(report)",
        ]
        if backlog > 0 { arguments.append("--verify_backlog=\(backlog)") }
        command = try rig.start(Programs.client("fio"), arguments)
    }

    var isRunning: Bool { command.isRunning }

    /// Waits for its end.
    func result(within limit: Duration = .seconds(300)) async throws -> Result {
        let output = try await command.finish(within: limit)
        let text = (try? String(contentsOfFile: report, encoding: .utf8)) ?? ""
        // fio may write notes before the object.
        guard let start = text.firstIndex(of: "{"),
            let object = try? JSONSerialization.jsonObject(with: Data(text[start...].utf8)) as? [String: Any],
            let job = (object["jobs"] as? [[String: Any]])?.first,
            let write = job["write"] as? [String: Any], let read = job["read"] as? [String: Any]
        else { throw Failure("fio ended with \(output.status) and without a report: \(output.error.suffix(600)) \(text.suffix(600))") }
        let failed = output.status != 0 || (job["error"] as? Int ?? 0) != 0
        let slowest = [write, read].compactMap { ($0["clat_ns"] as? [String: Any])?["max"] as? Double }.max() ?? 0
        return Result(
            writes: write["total_ios"] as? Int ?? 0, reads: read["total_ios"] as? Int ?? 0,
            errors: max(job["total_err"] as? Int ?? 0, failed ? 1 : 0), slowest: slowest / 1e9,
            output: "\(output.out.suffix(600)) \(output.error.suffix(600)) \(text[..<start].suffix(600))")
    }
}

extension Rig {
    /// Runs qemu-io's commands, one connection. A pattern that does not match is an exit status other than 0.
    func qemuIO(_ uri: String, _ commands: String..., within limit: Duration = .seconds(120)) async throws -> RunningCommand.Output {
        let arguments = ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [uri]
        return try await start(Programs.client("qemu-io"), arguments).finish(within: limit)
    }

    /// As ``qemuIO(_:_:within:)``; an error or a mismatch is a failure.
    func access(_ uri: String, _ commands: String..., within limit: Duration = .seconds(120)) async throws {
        let arguments = ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [uri]
        let output = try await start(Programs.client("qemu-io"), arguments).finish(within: limit)
        guard output.status == 0, !output.out.contains("verification failed") else {
            throw Failure("qemu-io \(commands) ended with \(output.status): \(output.out) \(output.error)")
        }
    }

    /// Waits until a workload's requests flow: `count` more than there were.
    func untilCompleted(_ count: UInt64, on name: String, within limit: Duration = .seconds(60)) async throws {
        let before = try await client.inspect(name).requests?.completed ?? 0
        _ = try await eventually("\(count) requests on \(name)", within: limit) {
            let now = try await client.inspect(name).requests?.completed ?? 0
            return now >= before + count ? true : nil
        }
    }
}
