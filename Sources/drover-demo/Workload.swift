import ControlModel
import Foundation

/// fio on an NBD export: every block is written once, in random order, then read back and checked. A lost, torn or misplaced
/// write is a mismatch; an I/O error that a client sees is an error.
final class Workload {
    struct Result {
        var writes: Int
        var reads: Int
        /// Errors and mismatches that fio saw.
        var errors: Int
        /// The longest that any write took, seconds.
        var slowestWrite: Double
        var output: String
    }

    let name: String
    private let process = Process()
    private let report: String

    /// - Parameters:
    ///   - mebibytes: Written and verified.
    ///   - rate: Writes a second, so that there is a middle to crash in.
    init(name: String, uri: String, mebibytes: Int, rate: Int, directory: String) throws {
        self.name = name
        report = "\(directory)/fio-\(name).json"
        process.executableURL = URL(filePath: "/usr/bin/fio")
        process.currentDirectoryURL = URL(filePath: directory)
        process.arguments = [
            "--name=\(name)", "--ioengine=nbd", "--uri=\(uri)", "--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=\(mebibytes)M",
            "--rate_iops=\(rate)", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--randseed=7", "--output-format=json",
            "--output=\(report)", "--verify_state_save=0",
        ]
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
    }

    var isRunning: Bool { process.isRunning }

    func kill() {
        if process.isRunning { process.terminate() }
    }

    /// What fio reported; call when it has ended.
    func result() throws -> Result {
        process.waitUntilExit()
        let text = (try? String(contentsOfFile: report, encoding: .utf8)) ?? ""
        // fio may write notes before the object.
        guard let start = text.firstIndex(of: "{"),
            let object = try JSONSerialization.jsonObject(with: Data(text[start...].utf8)) as? [String: Any],
            let job = (object["jobs"] as? [[String: Any]])?.first,
            let write = job["write"] as? [String: Any], let read = job["read"] as? [String: Any]
        else { throw DemoError("fio on \(name) ended without a report: \(text.suffix(400))") }
        let latency = (write["clat_ns"] as? [String: Any])?["max"] as? Double ?? 0
        let failed = (job["error"] as? Int ?? 0) != 0 || process.terminationStatus != 0
        let errors = job["total_err"] as? Int ?? 0
        return Result(
            writes: write["total_ios"] as? Int ?? 0, reads: read["total_ios"] as? Int ?? 0, errors: max(errors, failed ? 1 : 0),
            slowestWrite: latency / 1e9, output: text)
    }
}

/// Why the demonstration could not be shown, or what it showed to be wrong.
struct DemoError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
