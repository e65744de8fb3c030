import Foundation

/// A device of the machine's that is measured with the host's own driver and through a DD/OS.
protocol PassthroughBench {
    var name: String { get }
    /// What ``PassthroughReport/Figure/rate`` counts.
    var unit: String { get }
    /// What the CPU time is for.
    var share: String { get }

    /// One run of everything, the device being the host's.
    func native(_ progress: (String) -> Void) throws -> [PassthroughReport.Figure]
    /// The same through a DD/OS, which is started and stopped.
    func throughDrover(_ progress: (String) -> Void) throws -> [PassthroughReport.Figure]
}

/// The two figures of LeVasseur et al. (OSDI 2004), measured anew: what of the native throughput a driver in a VM of its own has, and what another VM costs.
struct PassthroughReport: Encodable {
    /// One run of one workload.
    struct Figure: Encodable {
        let workload: String
        /// Requests or bits a second.
        let rate: Double
        /// Seconds of CPU, of the whole machine, for a million requests or 10⁹ bytes.
        let cpu: Double
    }

    /// Of one workload.
    struct Comparison: Encodable {
        let workload: String
        let nativeRate: Double
        let droverRate: Double
        let rateOverNative: RoundRatio?
        let nativeCPU: Double
        let droverCPU: Double
        let cpuOverNative: RoundRatio?
    }

    struct Device: Encodable {
        let name: String
        let unit: String
        let share: String
        let workloads: [Comparison]
    }

    let rounds: Int
    let secondsOfEachRun: Double
    let isEmulated: Bool
    var disk: Device?
    var network: Device?
    var idle: IdleSlope?

    static func compare(_ bench: some PassthroughBench, rounds: Int) throws -> Device {
        var native: [String: [Figure]] = [:]
        var drover: [String: [Figure]] = [:]
        var order: [String] = []
        for round in 0..<rounds {
            func say(_ text: String) { progress("round \(round + 1)/\(rounds): \(bench.name), \(text)") }
            // Another one begins each round.
            for isNative in round % 2 == 0 ? [true, false] : [false, true] {
                for figure in try isNative ? bench.native(say) : bench.throughDrover(say) {
                    if !order.contains(figure.workload) { order.append(figure.workload) }
                    if isNative {
                        native[figure.workload, default: []].append(figure)
                    } else {
                        drover[figure.workload, default: []].append(figure)
                    }
                }
            }
        }
        let workloads = order.map { workload in
            let (own, other) = (drover[workload] ?? [], native[workload] ?? [])
            return Comparison(
                workload: workload, nativeRate: other.map(\.rate).median, droverRate: own.map(\.rate).median,
                rateOverNative: RoundRatio(own.map(\.rate), over: other.map(\.rate)), nativeCPU: other.map(\.cpu).median,
                droverCPU: own.map(\.cpu).median, cpuOverNative: RoundRatio(own.map(\.cpu), over: other.map(\.cpu)))
        }
        return Device(name: bench.name, unit: bench.unit, share: bench.share, workloads: workloads)
    }

    // MARK: tables

    var text: String {
        var lines = [
            "The host's own driver and a DD/OS, in turns; \(rounds) rounds of \(Int(secondsOfEachRun)) s: medians, and ratios within each round."
        ]
        for device in [disk, network].compactMap(\.self) {
            lines += ["", row(device.name, "native", "Drover", "Drover / native", "native CPU", "Drover CPU", "CPU / native")]
            for figure in device.workloads {
                lines.append(
                    row(
                        figure.workload, String(format: "%.0f", figure.nativeRate), String(format: "%.0f", figure.droverRate),
                        figure.rateOverNative?.text ?? "", String(format: "%.1f", figure.nativeCPU),
                        String(format: "%.1f", figure.droverCPU), figure.cpuOverNative?.text ?? ""))
            }
            lines.append("\(device.unit); CPU: seconds of the whole machine's, clients included, for \(device.share).")
        }
        if disk != nil || network != nil {
            lines.append("Published for this design (LeVasseur et al., OSDI 2004): network throughput 3 to 8 % below native.")
        }
        if let idle { lines += ["", idle.text] }
        if isEmulated { lines += ["", Self.distortion] }
        return lines.joined(separator: "\n")
    }

    private static let distortion = """
        This machine's processors are emulated, and the virtual machines' are emulated by what is emulated. The devices are programs of the host's, and as fast for both
        sides; what a real processor does in hardware is not. Each access of a guest's memory that misses the translated code's caches walks two levels of page tables in
        software, each entry into a guest and each exit throws these caches away, and an interrupt for a DD/OS is an exit of its own: a DD/OS pays for each of them
        what real hardware gives it almost for nothing. So Drover's side is slower here than it would be, by a factor that no figure here tells: these are for
        comparing one state of Drover with another, not with the published ones.
        """

    private func row(_ name: String, _ fields: String...) -> String {
        let widths = [10, 10, 20, 12, 12, 20]
        return name.padding(toLength: max(30, name.count), withPad: " ", startingAt: 0)
            + zip(fields, widths).map { String(repeating: " ", count: max(1, $1 - $0.count)) + $0 }.joined()
    }
}

/// CPU time of the whole machine.
enum WholeMachine {
    /// Seconds in which some processor was busy, since the machine started. In ticks of 10 ms.
    static func busySeconds() throws -> Double {
        // proc(5): user, nice, system, idle, iowait, irq, softirq, steal; a guest's time is part of the user's.
        guard let line = try? String(contentsOfFile: "/proc/stat", encoding: .utf8).prefix(while: { $0 != "\n" }) else {
            throw BenchFailure(text: "/proc/stat cannot be read")
        }
        let fields = line.split(separator: " ").dropFirst().compactMap { Double($0) }
        guard fields.count >= 8 else { throw BenchFailure(text: "/proc/stat begins with '\(line)'") }
        return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}
