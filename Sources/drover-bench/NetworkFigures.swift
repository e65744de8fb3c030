/// What traffic takes, in turns on each kind of machine: through a DD/OS, through QEMU's own back end in the same machine, and in a plain guest with the same
/// driver that is the traffic's endpoint itself.
struct NetworkFigures: Encodable {
    /// Medians of one load on one kind of machine. CPU is for 10⁹ bytes.
    struct Figures: Encodable {
        let megabitsPerSecond: Double
        /// Of datagrams only.
        let packetsPerSecond: Double
        let vmmSeconds: Double
        let stubSeconds: Double
        /// iperf3 on the host; in a plain guest it is part of the VMM's.
        let endpointSeconds: Double
        let wholeSeconds: Double
    }

    struct Entry: Encodable {
        let name: String
        let mtu: Int
        let isDatagrams: Bool
        let machines: [String: Figures]
        let rateOverQEMU: RoundRatio?
        let rateOverNative: RoundRatio?
        /// All CPU: of the VMM, the stub and the endpoint.
        let cpuOverQEMU: RoundRatio?
        let cpuOverNative: RoundRatio?
    }

    /// Microseconds.
    struct RoundTrip: Encodable {
        let p50: Double
        let p99: Double
    }

    private(set) var loads: [Entry] = []
    private(set) var roundTrips: [String: RoundTrip] = [:]

    private struct Run {
        var report: IperfReport
        var machine: Double
        var stub: Double

        /// Bytes or packets.
        func rate(_ load: NetworkLoad) -> Double { load.isDatagrams ? report.packetsPerSecond : report.bytesPerSecond }
        var share: Double { 1e9 / max(1, report.bytes) }
    }

    static func measure(
        _ wanted: [NetworkLoad], _ guest: NetworkGuest, programs: String, directory: String, rounds: Int, seconds: Double,
        progress: (String?) -> Void
    ) throws -> NetworkFigures {
        var figures = NetworkFigures()
        for mtu in [1500, 9000] where wanted.contains(where: { $0.mtu == mtu }) {
            var machines: [NetworkMachine] = []
            defer { for machine in machines { machine.stop() } }
            for backEnd in NetworkBackEnd.compared {
                progress("MTU \(mtu): \(backEnd.rawValue) boots")
                machines.append(try NetworkMachine(backEnd, guest: guest, mtu: mtu, directory: directory, programs: programs))
            }
            let loads = wanted.filter { $0.mtu == mtu }
            var runs: [NetworkLoad: [NetworkBackEnd: [Run]]] = [:]
            var trips: [NetworkBackEnd: [Double]] = [:]
            for round in 0..<rounds {
                for load in loads {
                    for index in machines.indices {
                        let machine = machines[(index + round) % machines.count]
                        progress("round \(round + 1)/\(rounds): MTU \(mtu), \(load.name), \(machine.backEnd.rawValue)")
                        let before = machine.cpuSeconds()
                        let report = try machine.iperf(load, seconds: seconds)
                        let after = machine.cpuSeconds()
                        runs[load, default: [:]][machine.backEnd, default: []].append(
                            Run(report: report, machine: after.machine - before.machine, stub: after.stub - before.stub))
                    }
                }
                guard mtu == 1500 else { continue }
                for machine in machines { trips[machine.backEnd, default: []] += try machine.ping(count: 200) }
            }
            for load in loads { figures.add(load, runs[load] ?? [:]) }
            for (backEnd, all) in trips where !all.isEmpty {
                let sorted = all.sorted()
                figures.roundTrips[backEnd.rawValue] = RoundTrip(p50: sorted[sorted.count / 2], p99: sorted[sorted.count * 99 / 100])
            }
        }
        return figures
    }

    private mutating func add(_ load: NetworkLoad, _ runs: [NetworkBackEnd: [Run]]) {
        func values(_ backEnd: NetworkBackEnd, _ value: (Run) -> Double) -> [Double] { (runs[backEnd] ?? []).map(value) }
        func endpoint(_ backEnd: NetworkBackEnd) -> (Run) -> Double { { backEnd == .native ? 0 : $0.report.cpuSeconds * $0.share } }
        func whole(_ backEnd: NetworkBackEnd) -> [Double] {
            let endpoint = endpoint(backEnd)
            return values(backEnd) { ($0.machine + $0.stub) * $0.share + endpoint($0) }
        }
        var machines: [String: Figures] = [:]
        for backEnd in NetworkBackEnd.compared {
            machines[backEnd.rawValue] = Figures(
                megabitsPerSecond: values(backEnd) { $0.report.bytesPerSecond * 8 / 1e6 }.median,
                packetsPerSecond: values(backEnd) { $0.report.packetsPerSecond }.median,
                vmmSeconds: values(backEnd) { $0.machine * $0.share }.median, stubSeconds: values(backEnd) { $0.stub * $0.share }.median,
                endpointSeconds: values(backEnd, endpoint(backEnd)).median, wholeSeconds: whole(backEnd).median)
        }
        func rates(_ backEnd: NetworkBackEnd) -> [Double] { values(backEnd) { $0.rate(load) } }
        loads.append(
            Entry(
                name: load.name, mtu: load.mtu, isDatagrams: load.isDatagrams, machines: machines,
                rateOverQEMU: RoundRatio(rates(.drover), over: rates(.qemu)),
                rateOverNative: RoundRatio(rates(.drover), over: rates(.native)),
                cpuOverQEMU: RoundRatio(whole(.drover), over: whole(.qemu)),
                cpuOverNative: RoundRatio(whole(.drover), over: whole(.native))))
    }
}
