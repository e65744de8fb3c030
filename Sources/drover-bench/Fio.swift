import Foundation

/// Runs fio, the client of all measurements.
enum Fio {
    struct Outcome {
        let iops: Double
        /// Microseconds.
        let p50: Double
        /// Microseconds.
        let p99: Double
        let requests: Int
    }

    /// What it works on.
    enum Target {
        /// An NBD server's first export.
        case nbd(socket: String)
        /// A block device, past the page cache.
        case device(path: String)

        var arguments: [String] {
            switch self {
            case .nbd(let socket): ["--ioengine=nbd", "--uri=nbd+unix:///?socket=\(socket)"]
            case .device(let path): ["--ioengine=io_uring", "--filename=\(path)", "--direct=1"]
            }
        }
    }

    /// - Parameter mebibytes: only the target's first so many; nil: all of it.
    static func run(_ workload: Workload, on target: Target, seconds: Double, mebibytes: Int? = nil) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments =
            [
                "-k", "5", String(Int(seconds) + 30), "fio", "--name=bench", "--rw=\(workload.mode)", "--bs=\(workload.block)",
                "--iodepth=\(workload.depth)", "--time_based",
                "--runtime=\(Int(seconds * 1000))ms", "--norandommap", "--randrepeat=1", "--percentile_list=50:99", "--output-format=json",
            ] + target.arguments + (mebibytes.map { ["--size=\($0)M"] } ?? [])
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        do {
            try Interruption.start(process)
        } catch {
            throw BenchFailure(text: "fio is not installed (apt-get install fio).")
        }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchFailure(text: "fio failed on \(target.arguments[1]), \(workload.name): \(said.suffix(500))")
        }
        // A note may stand before the JSON.
        let start = data.firstIndex(of: UInt8(ascii: "{")) ?? data.startIndex
        guard let report = try? JSONDecoder().decode(Report.self, from: data[start...]), let job = report.jobs.first else {
            throw BenchFailure(text: "fio's report cannot be read")
        }
        let side = workload.isWrite ? job.write : job.read
        return Outcome(
            iops: side.iops, p50: (side.clat_ns.percentile?["50.000000"] ?? 0) / 1000,
            p99: (side.clat_ns.percentile?["99.000000"] ?? 0) / 1000, requests: side.total_ios)
    }

    // As fio spells it.
    private struct Report: Decodable {
        let jobs: [Job]
        struct Job: Decodable {
            let read: Side
            let write: Side
        }
        struct Side: Decodable {
            let iops: Double
            let total_ios: Int
            let clat_ns: Latency
        }
        struct Latency: Decodable {
            let percentile: [String: Double]?
        }
    }
}
