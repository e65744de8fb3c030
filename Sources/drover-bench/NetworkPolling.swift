import Foundation
import StubControl

/// Whether statistics that somebody reads all the time cost throughput: TCP through a DD/OS, with and without, in short turns of one
/// stream. What changes slowly on the machine changes both neighbours. At normal priority, whatever the rest has.
struct NetworkPolling: Encodable {
    struct Direction: Encodable {
        let name: String
        let megabitsPerSecond: Double
        let polledMegabitsPerSecond: Double
        let answersPerSecond: Double
        let ratio: PairedRatio?
    }

    /// CPU of one answer while no packets pass: under traffic a VMM with one virtual CPU uses all it can get, polled or not.
    struct Cost: Encodable {
        let polls: Int
        let vmmMicroseconds: Double
        let stubMicroseconds: Double
    }

    /// Seconds from one question to the next…
    static let pollInterval = 0.1
    /// …and of a turn.
    static let interval = 0.5
    /// A ratio of fewer pairs says nothing.
    private static let fewestPairs = 50
    /// Until TCP has found its pace.
    private static let warmUp = 3.0
    private static let pollsForCost = 1000

    let directions: [Direction]
    let cost: Cost

    /// As many pairs of turns as `rounds` runs of so many seconds have room for, and enough of them.
    static func measure(
        _ machine: NetworkMachine, rounds: Int, seconds: Double, progress: (String?) -> Void
    ) throws -> NetworkPolling {
        try machine.useNormalPriority()
        try machine.awaitPackets()
        let pairs = max(fewestPairs, Int(Double(rounds) * seconds / (2 * interval)))
        var directions: [Direction] = []
        for isOutward in [true, false] {
            let load = NetworkLoad(mtu: 1500, isOutward: isOutward)
            var turns = Turns(pairs: pairs, isOutward: isOutward)
            _ = try machine.iperf(load, seconds: (warmUp + Double(pairs) * 2 * interval * 1.05 + 2).rounded(.up)) {
                progress("\(load.name), polled in turns: \(turns.done)/\(2 * pairs)")
                try turns.next(machine)
            }
            directions.append(turns.direction(isOutward ? "TCP out" : "TCP in"))
        }
        progress("CPU of an answer")
        return NetworkPolling(directions: directions, cost: try cost(machine))
    }

    private static func cost(_ machine: NetworkMachine) throws -> Cost {
        let rest = 5.0
        let start = machine.cpuSeconds()
        usleep(UInt32(rest * 1e6))
        let before = machine.cpuSeconds()
        let from = Date()
        for _ in 0..<pollsForCost { try machine.ask(.interface(.statistics)) }
        let share = Date().timeIntervalSince(from) / rest
        let after = machine.cpuSeconds()
        func each(_ spent: Double, atRest: Double) -> Double { max(0, spent - atRest * share) / Double(pollsForCost) * 1e6 }
        return Cost(
            polls: pollsForCost, vmmMicroseconds: each(after.machine - before.machine, atRest: before.machine - start.machine),
            stubMicroseconds: each(after.stub - before.stub, atRest: before.stub - start.stub))
    }

    /// The turns of one stream.
    private struct Turns {
        let pairs: Int
        let isOutward: Bool
        private let begin = Date()
        private var plain: [Double] = []
        private var polled: [Double] = []
        private var answers = 0
        private var polledSeconds = 0.0

        init(pairs: Int, isOutward: Bool) {
            self.pairs = pairs
            self.isOutward = isOutward
        }

        var done: Int { plain.count + polled.count }

        /// One turn, or a short wait before the first and after the last.
        mutating func next(_ machine: NetworkMachine) throws {
            guard Date().timeIntervalSince(begin) > warmUp, done < 2 * pairs else {
                usleep(20_000)
                return
            }
            // Without and with, with and without, …: what only rises or falls favours neither.
            let isPolled = [false, true, true, false][done % 4]
            let before = try bytes(machine)
            let start = Date()
            var next = start
            while next.timeIntervalSince(start) < interval - pollInterval / 2 {
                if isPolled {
                    try machine.ask(.interface(.statistics))
                    answers += 1
                }
                next += pollInterval
                usleep(UInt32(max(0, next.timeIntervalSinceNow) * 1e6))
            }
            let moved = try bytes(machine) - before
            let seconds = Date().timeIntervalSince(start)
            let rate = Double(moved) * 8 / 1e6 / seconds
            if isPolled { polled.append(rate) } else { plain.append(rate) }
            if isPolled { polledSeconds += seconds }
        }

        /// What the client stub has moved so far in the stream's direction. Asked for before and after each turn, whatever kind it is.
        private func bytes(_ machine: NetworkMachine) throws -> UInt64 {
            let packets = try machine.packets()
            return isOutward ? packets.sentBytes : packets.receivedBytes
        }

        func direction(_ name: String) -> Direction {
            Direction(
                name: name, megabitsPerSecond: plain.median, polledMegabitsPerSecond: polled.median,
                answersPerSecond: Double(answers) / max(polledSeconds, 0.1), ratio: PairedRatio(polled, over: plain))
        }
    }
}
