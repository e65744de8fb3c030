import Foundation

/// One kind of traffic that iperf3 makes.
struct NetworkLoad: Hashable {
    let mtu: Int
    /// From the host, or from the guest that takes its place, to the wire.
    let isOutward: Bool
    var streams = 1
    /// UDP, as many as go; else TCP.
    var isDatagrams = false

    static let datagramBytes = 64

    var name: String {
        let direction = isOutward ? "out" : "in"
        return isDatagrams
            ? "UDP \(direction), \(Self.datagramBytes) bytes" : "TCP \(direction), \(streams) stream\(streams == 1 ? "" : "s")"
    }

    static let all =
        [1500, 9000].flatMap { mtu in
            [1, 4].flatMap { streams in [true, false].map { NetworkLoad(mtu: mtu, isOutward: $0, streams: streams) } }
        } + [true, false].map { NetworkLoad(mtu: 1500, isOutward: $0, isDatagrams: true) }

    /// iperf3's command line, for a client that is at the load's near end or on the wire.
    func client(of address: String, isOnWire: Bool, seconds: Double) -> [String] {
        var words = ["timeout", "\(Int(seconds) + 30)", "iperf3", "-J", "-c", address, "-t", "\(Int(seconds))"]
        if streams > 1 { words += ["-P", "\(streams)"] }
        if isDatagrams { words += ["-u", "-b", "0", "-l", "\(Self.datagramBytes)"] }
        if isOutward == isOnWire { words.append("-R") }
        return words
    }
}

/// What iperf3's client reports.
struct IperfReport {
    /// What arrived.
    let bytesPerSecond: Double
    let packetsPerSecond: Double
    let bytes: Double
    /// CPU of the client itself, in seconds.
    let cpuSeconds: Double

    init(_ text: String, isDatagrams: Bool) throws {
        guard let end = (try? JSONDecoder().decode(Document.self, from: Data(text.utf8)))?.end, let sum = end.sum_received ?? end.sum,
            sum.seconds > 0
        else { throw BenchFailure(text: "iperf3's report cannot be read: \(text.prefix(300))") }
        bytesPerSecond = sum.bytes / sum.seconds
        bytes = sum.bytes
        // Not what was sent without what the receiver missed: it misses nothing after the last packet that it saw.
        packetsPerSecond = isDatagrams ? sum.bytes / Double(NetworkLoad.datagramBytes) / sum.seconds : 0
        cpuSeconds = (end.cpu_utilization_percent?.host_total ?? 0) / 100 * sum.seconds
    }

    // As iperf3 spells it.
    private struct Document: Decodable {
        let end: End
        struct End: Decodable {
            let sum_received: Sum?
            let sum: Sum?
            let cpu_utilization_percent: Utilization?
        }
        struct Sum: Decodable {
            let seconds: Double
            let bytes: Double
        }
        struct Utilization: Decodable { let host_total: Double }
    }
}
