import Foundation

/// One run of one workload on one server.
struct Measurement {
    let iops: Double
    /// Microseconds.
    let p50: Double
    /// Microseconds.
    let p99: Double
    /// Microseconds of all serving processes.
    let cpuPerRequest: Double
}

/// What was measured, and what it comes to.
struct Results {
    let rounds: Int
    let seconds: Double
    let megabytes: Int
    let servers: [ServerKind]
    private var workloads: [Workload] = []
    private var runs: [Workload: [ServerKind: [Measurement]]] = [:]

    init(rounds: Int, seconds: Double, megabytes: Int, servers: [ServerKind]) {
        self.rounds = rounds
        self.seconds = seconds
        self.megabytes = megabytes
        self.servers = servers
    }

    mutating func add(_ measurement: Measurement, _ workload: Workload, _ server: ServerKind) {
        if !workloads.contains(workload) { workloads.append(workload) }
        runs[workload, default: [:]][server, default: []].append(measurement)
    }

    private func median(_ workload: Workload, _ server: ServerKind) -> Measurement {
        let all = runs[workload]?[server] ?? []
        func middle(_ value: (Measurement) -> Double) -> Double { all.map(value).median }
        return Measurement(iops: middle(\.iops), p50: middle(\.p50), p99: middle(\.p99), cpuPerRequest: middle(\.cpuPerRequest))
    }

    /// Drover's IOPS over those of the faster of the others, round by round.
    private func ratio(_ workload: Workload) -> RoundRatio? {
        let peers = servers.filter { $0 != .drover }
        guard let own = runs[workload]?[.drover], let best = peers.max(by: { median(workload, $0).iops < median(workload, $1).iops }),
            let others = runs[workload]?[best]
        else { return nil }
        return RoundRatio(own.map(\.iops), over: others.map(\.iops))
    }

    /// The least median ratio that is aimed at.
    private static func aim(_ workload: Workload) -> Double { workload.depth == 1 ? 0.8 : 1 }

    var aims: [Aim] {
        workloads.compactMap { workload in
            ratio(workload).map {
                Aim.atLeast(Self.aim(workload), "message path, \(workload.name): IOPS over the faster peer's", $0.median)
            }
        }
    }

    func table() -> String {
        var lines = [
            "Medians of \(rounds) rounds of \(seconds) s, \(megabytes) MiB in the page cache, client fio; CPU: all serving processes.", "",
        ]
        lines.append(row("", "server", "IOPS", "p50 µs", "p99 µs", "CPU µs/request", "IOPS / faster peer"))
        for workload in workloads {
            for (index, server) in servers.enumerated() {
                let figures = median(workload, server)
                let ratio = server == .drover ? ratio(workload)?.text ?? "" : ""
                lines.append(
                    row(
                        index == 0 ? workload.name : "", server.rawValue, String(format: "%.0f", figures.iops),
                        String(format: "%.1f", figures.p50),
                        String(format: "%.1f", figures.p99), String(format: "%.1f", figures.cpuPerRequest), ratio))
            }
        }
        return lines.joined(separator: "\n")
    }

    private func row(_ workload: String, _ server: String, _ figures: String...) -> String {
        func left(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
        func right(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
        let widths = [9, 9, 9, 16, 20]
        return left(workload, 31) + left(server, 9) + zip(figures, widths).map { right($0, $1) }.joined()
    }

    func json(machines: Machines?, network: NetworkReport?, aims: [Aim]) throws -> String {
        struct Document: Encodable {
            let rounds: Int
            let seconds: Double
            let megabytes: Int
            let workloads: [Entry]
            let machines: Machines?
            let network: NetworkReport?
            let aims: [Aim]
        }
        struct Entry: Encodable {
            let name: String
            let servers: [String: Figures]
            let iopsOverFasterPeer: Ratio?
        }
        struct Ratio: Encodable {
            let lowest: Double
            let median: Double
            let highest: Double
            let aim: Double
        }
        struct Figures: Encodable {
            let iops: Double
            let p50Microseconds: Double
            let p99Microseconds: Double
            let cpuMicrosecondsPerRequest: Double
        }
        let entries = workloads.map { workload in
            let figures = servers.map { server in
                let median = median(workload, server)
                return (
                    server.rawValue,
                    Figures(
                        iops: median.iops, p50Microseconds: median.p50, p99Microseconds: median.p99,
                        cpuMicrosecondsPerRequest: median.cpuPerRequest)
                )
            }
            let ratio = ratio(workload).map {
                Ratio(lowest: $0.lowest, median: $0.median, highest: $0.highest, aim: Self.aim(workload))
            }
            return Entry(name: workload.name, servers: Dictionary(uniqueKeysWithValues: figures), iopsOverFasterPeer: ratio)
        }
        let document = Document(
            rounds: rounds, seconds: seconds, megabytes: megabytes, workloads: entries, machines: machines, network: network, aims: aims)
        return try document.figures()
    }
}
