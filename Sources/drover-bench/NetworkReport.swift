import Foundation

/// The network part of the benchmark.
struct NetworkReport: Encodable {
    enum Part: String, CaseIterable {
        case throughput
        case control
        case polling
    }

    let rounds: Int
    let secondsOfEachRun: Double
    private(set) var traffic: NetworkFigures?
    private(set) var control: NetworkControl?
    private(set) var polling: NetworkPolling?

    /// Measures these parts; needs root.
    static func measure(
        _ parts: [Part], _ loads: [NetworkLoad], programs: String, directory: String, rounds: Int, seconds: Double,
        progress: (String?) -> Void
    ) throws -> NetworkReport {
        // iperf3 takes whole ones.
        let seconds = max(1, seconds.rounded())
        var report = NetworkReport(rounds: rounds, secondsOfEachRun: seconds)
        let guest = try NetworkGuest(in: directory, programs: programs)
        if parts.contains(.throughput) {
            report.traffic = try NetworkFigures.measure(
                loads, guest, programs: programs, directory: directory, rounds: rounds, seconds: seconds, progress: progress)
        }
        if parts.contains(.control) || parts.contains(.polling) {
            progress("a DD/OS starts")
            let machine = try NetworkMachine(.ddos, guest: guest, mtu: 1500, directory: directory, programs: programs)
            defer { machine.stop() }
            if parts.contains(.control) {
                report.control = try NetworkControl.measure(
                    machine, guest, programs: programs, directory: directory, rounds: rounds, progress: progress)
            }
            if parts.contains(.polling) {
                report.polling = try NetworkPolling.measure(machine, rounds: rounds, seconds: seconds, progress: progress)
            }
        }
        return report
    }

    var text: String {
        var lines = [
            "Network: host <-> DD/OS (e1000e) <-> wire, TCG; \(rounds) rounds of \(Int(secondsOfEachRun)) s: medians, and ratios within each."
        ]
        if let traffic { lines += [""] + Self.lines(traffic) }
        if let control { lines += [""] + Self.lines(control) }
        if let polling { lines += [""] + Self.lines(polling) }
        return lines.joined(separator: "\n")
    }

    // MARK: tables

    private static func lines(_ traffic: NetworkFigures) -> [String] {
        let widths = [20, 6, 10, 9, 11, 8, 8, 12, 8, 20, 20, 20, 20]
        var lines = [
            "drover: through the client stub; qemu-tap: the same guest, behind QEMU's own back end; native: a guest that is the endpoint itself.",
            "CPU is for 10⁹ bytes; the endpoint's is iperf3's on the host, in a native guest it is part of the VMM's.",
            "Under TCG a native guest's TCP and iperf3 are translated code, and the host's are not: that flatters the DD/OS.", "",
            row(
                widths, "", "MTU", "machine", "Mbit/s", "packets/s", "VMM s", "stub s", "endpoint s", "all s", "rate / qemu-tap",
                "rate / native", "CPU / qemu-tap", "CPU / native"),
        ]
        for load in traffic.loads {
            for (index, backEnd) in NetworkBackEnd.compared.enumerated() {
                guard let figures = load.machines[backEnd.rawValue] else { continue }
                func cpu(_ value: Double) -> String { load.isDatagrams || value == 0 ? "" : String(format: "%.2f", value) }
                lines.append(
                    row(
                        widths, index == 0 ? load.name : "", index == 0 ? "\(load.mtu)" : "", backEnd.rawValue,
                        load.isDatagrams ? "" : String(format: "%.0f", figures.megabitsPerSecond),
                        load.isDatagrams ? String(format: "%.0f", figures.packetsPerSecond) : "", cpu(figures.vmmSeconds),
                        cpu(figures.stubSeconds), cpu(figures.endpointSeconds), cpu(figures.wholeSeconds),
                        index == 0 ? load.rateOverQEMU?.text ?? "" : "", index == 0 ? load.rateOverNative?.text ?? "" : "",
                        index == 0 && !load.isDatagrams ? load.cpuOverQEMU?.text ?? "" : "",
                        index == 0 && !load.isDatagrams ? load.cpuOverNative?.text ?? "" : ""))
            }
        }
        for backEnd in NetworkBackEnd.compared {
            guard let trip = traffic.roundTrips[backEnd.rawValue] else { continue }
            lines.append("round trip, \(backEnd.rawValue): p50 \(Int(trip.p50)) µs, p99 \(Int(trip.p99)) µs")
        }
        return lines
    }

    private static func lines(_ control: NetworkControl) -> [String] {
        let widths = [16, 0, 12, 18, 10, 22, 22]
        var lines = [
            "Control operations, microseconds. Native: a program in a plain guest that opens its sockets and asks for all it has to know",
            "each time, as ip and ethtool do, without being started and printing: the change alone, and with the description after it.",
            "Drover: the whole request at the client stub's socket. The aim is a ratio of at most \(Int(NetworkControl.aim)).", "",
            row(widths, "", "", "native", "with description", "Drover", "ratio", "to the change alone"),
        ]
        for operation in control.operations {
            let isChange = operation.ratioToChangeAlone != nil
            lines.append(
                row(
                    widths, operation.name, "", String(format: "%.0f", operation.nativeMicroseconds),
                    isChange ? String(format: "%.0f", operation.nativeWithDescriptionMicroseconds) : "",
                    String(format: "%.0f", operation.droverMicroseconds), operation.ratio?.text ?? "",
                    operation.ratioToChangeAlone?.text ?? ""))
        }
        lines.append(String(format: "A request that the client stub answers itself takes %.0f µs.", control.stubAloneMicroseconds))
        return lines
    }

    private static func lines(_ polling: NetworkPolling) -> [String] {
        let widths = [16, 0, 12, 14, 24]
        var lines = [
            "TCP while the driver's statistics are asked for \(Int(1 / NetworkPolling.pollInterval)) times a second and while they are "
                + "not, in turns of \(NetworkPolling.interval) s of one stream, Mbit/s (MTU 1500).",
            "Ratio: the median of neighbours, and where it lies with 95 % confidence.", "",
            row(widths, "", "", "without", "with", "ratio"),
        ]
        for direction in polling.directions {
            let ratio = direction.ratio.map { String(format: "%.3f (%.3f–%.3f)", $0.median, $0.low, $0.high) } ?? ""
            lines.append(
                row(
                    widths, direction.name, "", String(format: "%.0f", direction.megabitsPerSecond),
                    String(format: "%.0f", direction.polledMegabitsPerSecond), ratio)
                    + "   \(direction.ratio?.pairs ?? 0) pairs" + String(format: ", %.1f answers a second", direction.answersPerSecond))
        }
        let cost = polling.cost
        lines.append(
            String(
                format: "CPU of an answer, without traffic: %.0f µs of the VMM's and %.0f µs of the client stub's.", cost.vmmMicroseconds,
                cost.stubMicroseconds))
        return lines
    }

    /// The first and the third field at the left of their columns, the others at the right.
    private static func row(_ widths: [Int], _ fields: String...) -> String {
        let line = zip(fields, widths).enumerated().map { index, field in
            let blank = String(repeating: " ", count: max(0, field.1 - field.0.count))
            return index == 0 || index == 2 && widths[1] > 0 ? field.0 + blank : blank + field.0 + (index == 1 ? "  " : "")
        }.joined()
        return String(line.prefix((line.lastIndex { $0 != " " }).map { line.distance(from: line.startIndex, to: $0) + 1 } ?? 0))
    }
}
