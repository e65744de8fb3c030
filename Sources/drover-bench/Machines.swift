/// The part of the benchmark that starts virtual machines: both kinds of image side by side.
struct Machines: Encodable {
    let starts: [StartTime]
    let atRest: [AtRest]

    static let images = ["debian-6.1", "lean-6.1"]

    static func measure(programs: String, seconds: Int, progress: (String) -> Void) throws -> Machines {
        let starts = try images.map { try StartTime.measure(programs: programs, image: $0, progress: progress) }
        var atRest = try images.map {
            try AtRest.measure(programs: programs, image: $0, count: 1, seconds: seconds, progress: progress)
        }
        // Many at once, as a host has them: what one adds to the wakings of the others is in it.
        atRest.append(try AtRest.measure(programs: programs, image: "lean-6.1", count: 8, seconds: max(seconds, 60), progress: progress))
        return Machines(starts: starts, atRest: atRest)
    }

    var text: String {
        ([StartTime.header] + starts.map(\.text) + ["", AtRest.header] + atRest.map(\.text)).joined(separator: "\n")
    }
}
