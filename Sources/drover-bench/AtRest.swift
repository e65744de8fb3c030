import Foundation

/// What DD/OSs cost when nothing asks them for anything: emulated NVMe controllers, measured by `drover report`. Figures are means over them.
struct AtRest: Encodable {
    let image: String
    let count: Int
    let intervalSeconds: Double
    /// Of VM, VMM and client stub; 1 is a whole CPU.
    let shareOfOneCPU: Double
    let guestBytes: UInt64
    let vmmBytes: UInt64
    let stubBytes: UInt64
    /// The supervisor's own.
    let supervisorShareOfOneCPU: Double

    static func measure(
        programs: String, image: String, count: Int, seconds: Int, progress: (String) -> Void
    ) throws -> AtRest {
        progress("\(count) DD/OSs at rest on \(image): starting (the first time the image is built)")
        let machines = try SupervisedMachines(programs: programs, images: Array(repeating: image, count: count))
        defer { machines.remove() }
        // The guests still tidy up after their boot.
        sleep(5)
        progress("\(count) DD/OSs at rest on \(image): measuring for \(seconds) s")
        let text = try machines.run("report", "--json", "--interval", String(seconds), seconds: seconds + 60)
        guard let report = try? JSONDecoder().decode(Report.self, from: Data(text.utf8)), report.ddos.count == count, count > 0 else {
            throw BenchFailure(text: "drover's report cannot be read: \(text.prefix(300))")
        }
        func mean(_ value: (Report.Usage) -> UInt64) -> UInt64 { report.ddos.reduce(0) { $0 + value($1) } / UInt64(count) }
        return AtRest(
            image: image, count: count, intervalSeconds: report.intervalSeconds,
            shareOfOneCPU: report.ddos.reduce(0) { $0 + $1.cpu.shareOfOneCPU } / Double(count), guestBytes: mean(\.guestBytes),
            vmmBytes: mean(\.vmmBytes), stubBytes: mean(\.stubBytes), supervisorShareOfOneCPU: report.supervisor.shareOfOneCPU)
    }

    static let header = "At rest, each              DD/OSs   over   CPU %  guest MiB  VMM MiB  stub MiB  supervisor CPU %"

    var text: String {
        func mebibytes(_ bytes: UInt64) -> String { String(format: "%.1f", Double(bytes) / 1_048_576) }
        return String(
            format: "  %@ %6d %4.0f s  %6.3f  %9@  %7@  %8@  %16.3f", image.padding(toLength: 24, withPad: " ", startingAt: 0) as NSString,
            count, intervalSeconds, shareOfOneCPU * 100, mebibytes(guestBytes) as NSString, mebibytes(vmmBytes) as NSString,
            mebibytes(stubBytes) as NSString, supervisorShareOfOneCPU * 100)
    }

    // As drover documents it.
    private struct Report: Decodable {
        let intervalSeconds: Double
        let ddos: [Usage]
        let supervisor: Supervisor
        struct Usage: Decodable {
            let cpu: CPU
            let guestBytes: UInt64
            let vmmBytes: UInt64
            let stubBytes: UInt64
        }
        struct CPU: Decodable { let shareOfOneCPU: Double }
        struct Supervisor: Decodable { let shareOfOneCPU: Double }
    }
}
