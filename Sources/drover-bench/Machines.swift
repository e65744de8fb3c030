/// The part of the benchmark that starts virtual machines: both kinds of image side by side.
struct Machines: Encodable {
    let starts: [StartTime]
    /// First byte on ``lean`` over that on ``stock``.
    let firstByteOverStock: RoundRatio?
    let atRest: [AtRest]

    static let stock = "debian-6.1"
    static let lean = "lean-6.1"
    static let images = [stock, lean]

    static func measure(programs: String, seconds: Int, progress: (String) -> Void) throws -> Machines {
        let starts = try StartTime.measure(programs: programs, images: images, progress: progress)
        var atRest = try images.map {
            try AtRest.measure(programs: programs, image: $0, count: 1, seconds: seconds, progress: progress)
        }
        // Many at once, as a host has them: what one adds to the wakings of the others is in it.
        atRest.append(try AtRest.measure(programs: programs, image: lean, count: 8, seconds: max(seconds, 60), progress: progress))
        return Machines(
            starts: starts, firstByteOverStock: RoundRatio(starts[1].everyFirstByteSeconds, over: starts[0].everyFirstByteSeconds),
            atRest: atRest)
    }

    var aims: [Aim] {
        var aims: [Aim] = []
        if let own = starts.first(where: { $0.image == Self.lean }) {
            aims.append(.atMost(1.2, unit: "s", "\(Self.lean): first byte", own.launchToFirstByteSeconds))
            if let firstByteOverStock {
                aims.append(.atMost(0.25, "\(Self.lean): first byte, of \(Self.stock)'s", firstByteOverStock.median))
            }
            aims.append(.atMost(2, unit: "s", "\(Self.lean): longest wait over a kill", own.recoveryGapSeconds))
            aims.append(.atMost(32, unit: "MiB", "\(Self.lean): memory of the guest", Double(own.memoryMiB)))
        }
        for rest in atRest {
            let limit = rest.image == Self.lean ? 0.12 : 0.3
            aims.append(.atMost(limit, unit: "% of a CPU", "\(rest.image): at rest, each of \(rest.count)", rest.shareOfOneCPU * 100))
        }
        return aims
    }

    var text: String {
        let ratio = firstByteOverStock.map {
            "  first byte, \(Self.lean) over \(Self.stock), round by round: \($0.text)"
        }
        return ([StartTime.header] + starts.map(\.text) + (ratio.map { [$0] } ?? []) + ["", AtRest.header] + atRest.map(\.text))
            .joined(separator: "\n")
    }
}
