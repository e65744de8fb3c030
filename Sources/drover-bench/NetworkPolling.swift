import Foundation
import StubControl

/// Whether statistics that somebody reads all the time cost throughput: TCP through a DD/OS, with and without, in turns. At normal priority, whatever the
/// rest has.
struct NetworkPolling: Encodable {
    struct Direction: Encodable {
        let name: String
        let megabitsPerSecond: Double
        let polledMegabitsPerSecond: Double
        let answersPerSecond: Double
        let ratio: RoundRatio?
    }

    /// Seconds.
    static let interval = 0.1

    private(set) var directions: [Direction] = []

    static func measure(
        _ machine: NetworkMachine, rounds: Int, seconds: Double, progress: (String?) -> Void
    ) throws -> NetworkPolling {
        try machine.useNormalPriority()
        try machine.awaitPackets()
        var polling = NetworkPolling()
        for isOutward in [true, false] {
            let load = NetworkLoad(mtu: 1500, isOutward: isOutward)
            var rates: [Bool: [Double]] = [:]
            var answers = 0
            var spent = 0.0
            for round in 0..<rounds {
                // Another one begins each round.
                for polls in round % 2 == 0 ? [false, true] : [true, false] {
                    progress("round \(round + 1)/\(rounds): \(load.name), \(polls ? "polled" : "not polled")")
                    let start = Date()
                    var next = start
                    let report = try machine.iperf(load, seconds: seconds) {
                        if polls {
                            try machine.ask(.interface(.statistics))
                            answers += 1
                        }
                        next += interval
                        usleep(UInt32(max(0, next.timeIntervalSinceNow) * 1e6))
                    }
                    if polls { spent += Date().timeIntervalSince(start) }
                    rates[polls, default: []].append(report.bytesPerSecond * 8 / 1e6)
                }
            }
            let (without, with) = (rates[false] ?? [], rates[true] ?? [])
            polling.directions.append(
                Direction(
                    name: isOutward ? "TCP out" : "TCP in", megabitsPerSecond: without.median, polledMegabitsPerSecond: with.median,
                    answersPerSecond: Double(answers) / max(spent, 0.1), ratio: RoundRatio(with, over: without)))
        }
        return polling
    }
}
