import Foundation

/// How long a DD/OS takes to serve, from nothing and after a crash: an emulated NVMe controller.
struct StartTime: Encodable {
    let image: String
    let memoryMiB: Int
    /// From the supervisor's virDomainCreate to the first byte that a client reads: the median start.
    let launchToFirstByteSeconds: Double
    /// The same of every start, in the order of the rounds.
    let everyFirstByteSeconds: [Double]
    /// Where the time of that start went; "image" and "client stub" come before the launch.
    let steps: [String: Double]
    /// Longest time between two completions that a client under load sees when the VMM is killed: the median of the recoveries.
    let recoveryGapSeconds: Double

    static let starts = 11
    static let recoveries = 3

    /// One DD/OS of each image, in turns and by itself, so that what changes slowly on the machine changes all; in the order of the images.
    static func measure(programs: String, images: [String], progress: (String) -> Void) throws -> [StartTime] {
        progress("starts on \(images.joined(separator: ", ")): preparing (the first time the images are built)")
        let machines = try SupervisedMachines(
            programs: programs, images: images, extra: ["restart: { backoff: 0.2s..1s, stableAfter: 1s, quarantine: never }"])
        defer { machines.remove() }
        for name in machines.names { try machines.run("stop", name) }
        var starts = images.map { _ in [Start]() }
        var gaps = images.map { _ in [Double]() }
        for round in 0..<Self.starts {
            for (index, name) in machines.names.enumerated() {
                progress("start \(round + 1)/\(Self.starts) on \(images[index])")
                starts[index].append(try start(machines, name))
                if round < recoveries {
                    progress("recovery \(round + 1)/\(recoveries) on \(images[index])")
                    gaps[index].append(try gap(machines, name))
                }
                try machines.run("stop", name)
            }
        }
        return images.indices.map { index in
            let sorted = starts[index].sorted { $0.seconds < $1.seconds }
            let middle = sorted[sorted.count / 2]
            return StartTime(
                image: images[index], memoryMiB: middle.memoryMiB, launchToFirstByteSeconds: middle.seconds,
                everyFirstByteSeconds: starts[index].map(\.seconds), steps: middle.steps, recoveryGapSeconds: gaps[index].median)
        }
    }

    private struct Start {
        let seconds: Double
        let steps: [String: Double]
        let memoryMiB: Int
    }

    private static func start(_ machines: SupervisedMachines, _ name: String) throws -> Start {
        try machines.run("start", name)
        let detail = try machines.inspect(name)
        guard let start = detail.lastStart else { throw BenchFailure(text: "drover inspect says nothing of the start") }
        return Start(seconds: start.sinceLaunch + (try firstByte(machines.socket(name))), steps: start.steps, memoryMiB: detail.memoryMiB)
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
