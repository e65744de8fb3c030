import Foundation

/// How long a DD/OS takes to serve, from nothing and after a crash: an emulated NVMe controller.
struct StartTime: Encodable {
    let image: String
    let memoryMiB: Int
    /// From the supervisor's virDomainCreate to the first byte that a client reads: the median start.
    let launchToFirstByteSeconds: Double
    /// Where the time of that start went; "image" and "client stub" come before the launch.
    let steps: [String: Double]
    /// Longest time between two completions that a client under load sees when the VMM is killed: the median of the recoveries.
    let recoveryGapSeconds: Double

    static let attempts = 5

    static func measure(programs: String, image: String, progress: (String) -> Void) throws -> StartTime {
        progress("start on \(image): preparing (the first time the image is built)")
        let machines = try SupervisedMachines(
            programs: programs, image: image, count: 1, extra: ["restart: { backoff: 0.2s..1s, stableAfter: 1s, quarantine: never }"])
        defer { machines.remove() }
        let name = machines.names[0]
        var starts: [(seconds: Double, steps: [String: Double])] = []
        var memory = 0
        for attempt in 1...attempts {
            progress("start on \(image): \(attempt)/\(attempts)")
            try machines.run("stop", name)
            try machines.run("start", name)
            let detail = try machines.inspect(name)
            guard let start = detail.lastStart else { throw BenchFailure(text: "drover inspect says nothing of the start") }
            let launch = start.vmm + start.kernel + start.initialization + start.probe + start.connection + start.session
            starts.append((launch + (try firstByte(machines.socket(name))), start.steps))
            memory = detail.memoryMiB
        }
        starts.sort { $0.seconds < $1.seconds }
        var gaps: [Double] = []
        for attempt in 1...3 {
            progress("recovery on \(image): \(attempt)/3")
            gaps.append(try gap(machines, name))
        }
        let median = starts[attempts / 2]
        return StartTime(
            image: image, memoryMiB: memory, launchToFirstByteSeconds: median.seconds, steps: median.steps,
            recoveryGapSeconds: gaps.sorted()[1])
    }

    /// Seconds of one read of 512 bytes, as the client measures it.
    private static func firstByte(_ socket: String) throws -> Double {
        try fio(socket, ["--rw=read", "--bs=512", "--number_ios=1"]) / 1e9
    }

    /// fio's longest completion latency, in nanoseconds.
    private static func fio(_ socket: String, _ arguments: [String], while action: () throws -> Void = {}) throws -> Double {
        let (process, output) = try SupervisedMachines.start(
            ["fio", "--name=bench", "--ioengine=nbd", "--uri=nbd+unix:///?socket=\(socket)", "--output-format=json"] + arguments,
            seconds: 90)
        do { try action() } catch {
            process.terminate()
            throw error
        }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let start = data.firstIndex(of: UInt8(ascii: "{")) ?? data.startIndex
        guard process.terminationStatus == 0, let report = try? JSONDecoder().decode(FioReport.self, from: data[start...]),
            let job = report.jobs.first
        else { throw BenchFailure(text: "fio failed on \(socket)") }
        return job.read.clat_ns.max
    }

    /// Reads all the time, kills the VMM in the middle. Eight requests are under way, so no completion is later than the slowest of them.
    private static func gap(_ machines: SupervisedMachines, _ name: String) throws -> Double {
        try fio(machines.socket(name), ["--rw=randread", "--bs=4k", "--iodepth=8", "--time_based", "--runtime=12"]) {
            sleep(3)
            try machines.run("inject", name, "kill")
        } / 1e9
    }

    static let header =
        "Start and recovery (NVMe)  memory  first byte  kill: longest wait   of the start: VMM  kernel  init  probe  connection  session"

    var text: String {
        let inside = ["vmm", "kernel", "initialization", "probe", "connection", "session"].map { String(format: "%.3f", steps[$0] ?? 0) }
        return String(
            format: "  %@ %3d MiB  %8.2f s  %16.2f s   %@", image.padding(toLength: 24, withPad: " ", startingAt: 0) as NSString, memoryMiB,
            launchToFirstByteSeconds, recoveryGapSeconds, inside.joined(separator: "  ") as NSString)
    }

    private struct FioReport: Decodable {
        let jobs: [Job]
        struct Job: Decodable { let read: Side }
        struct Side: Decodable { let clat_ns: Latency }
        struct Latency: Decodable { let max: Double }
    }
}
