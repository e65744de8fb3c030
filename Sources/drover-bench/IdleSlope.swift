import Foundation

/// What each further idle DD/OS costs: CPU of all of Drover's processes with 0, 1, 2, … of them, and the straight line through it.
struct IdleSlope: Encodable {
    struct Point: Encodable {
        let count: Int
        /// Of VMs, VMMs, client stubs and supervisor; 1 is a whole CPU.
        let shareOfOneCPU: Double
    }

    let seconds: Int
    let points: [Point]
    /// Least squares: share of one CPU for each further DD/OS.
    let slope: Double

    /// Emulated NVMe controllers, which the others stay up for.
    static func measure(counts: [Int], programs: String, image: String, seconds: Int) throws -> IdleSlope {
        let counts = Set(counts).sorted()
        progress("idle: a supervisor starts")
        let machines = try SupervisedMachines(programs: programs, names: (0..<(counts.last ?? 0)).map { "idle\($0)" }) { name, folder in
            [
                "class: block", "device: { emulated: nvme, backing: { file: \(folder)/\(name).img, size: 64MiB } }", "image: \(image)",
                "autostart: false", "boot: { deadline: 10min }", "requests: { deadline: 60s, pingTimeout: 15s }",
            ]
        }
        defer { machines.remove() }
        var started = 0
        var points: [Point] = []
        for count in counts {
            while started < count {
                progress("idle: DD/OS \(started + 1) of \(counts.last ?? 0) starts")
                try machines.run("start", machines.names[started], seconds: 700)
                started += 1
            }
            progress("idle: \(count) DD/OSs for \(seconds) s")
            // They still tidy up after their boot.
            sleep(10)
            let text = try machines.run("report", "--json", "--interval", String(seconds), seconds: seconds + 60)
            guard let report = try? JSONDecoder().decode(Report.self, from: Data(text.utf8)) else {
                throw BenchFailure(text: "drover's report cannot be read: \(text.prefix(300))")
            }
            points.append(Point(count: count, shareOfOneCPU: report.total.shareOfOneCPU))
        }
        return IdleSlope(seconds: seconds, points: points, slope: slope(points))
    }

    static func slope(_ points: [Point]) -> Double {
        let count = Double(points.count)
        guard count > 0 else { return 0 }
        let (x, y) = (points.reduce(0) { $0 + Double($1.count) } / count, points.reduce(0) { $0 + $1.shareOfOneCPU } / count)
        let spread = points.reduce(0) { $0 + pow(Double($1.count) - x, 2) }
        return spread > 0 ? points.reduce(0) { $0 + (Double($1.count) - x) * ($1.shareOfOneCPU - y) } / spread : 0
    }

    var text: String {
        let figures = points.map { String(format: "%d: %.2f %%", $0.count, $0.shareOfOneCPU * 100) }.joined(separator: ", ")
        return """
            Idle DD/OSs, CPU of all of Drover over \(seconds) s each, of one processor: \(figures)
            Each further DD/OS: \(String(format: "%.3f", slope * 100)) %. Published for this design: 0.12 % of a processor for each additional VM.
            """
    }

    // As drover documents it.
    private struct Report: Decodable {
        let total: Total
        struct Total: Decodable { let shareOfOneCPU: Double }
    }
}
