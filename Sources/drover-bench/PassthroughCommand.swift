import ArgumentParser
import Foundation

struct PassthroughCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "passthrough",
        abstract: "Real devices, with the host's own driver and through a DD/OS, in turns; and what idle DD/OSs cost.",
        discussion: """
            In each round every device is measured with the host's own driver and through a DD/OS, another one first each time. CPU is that of the whole \
            machine, clients included. Needs root, and what 'drover doctor --passthrough' asks for. 'make lab-bench' runs it in the lab.
            """)

    @Option(help: ArgumentHelp("A disk controller. WHAT IS ON ITS FIRST DISK IS OVERWRITTEN.", valueName: "PCI address"))
    var disk: String?

    @Option(help: ArgumentHelp("A network card.", valueName: "PCI address"))
    var nic: String?

    @Option(help: ArgumentHelp("The interface of this machine's at the other end of the card's wire.", valueName: "PCI address"))
    var wire: String?

    @Option(help: ArgumentHelp("Numbers of idle DD/OSs to compare, separated by commas.", valueName: "numbers"))
    var idle = "0,1,2,4"

    @Option(help: "Rounds.")
    var rounds = 3

    @Option(help: "Seconds of each run.")
    var seconds = 4.0

    @Option(help: "Seconds over which idle DD/OSs are measured.")
    var rest = 30

    @Option(help: "Image of the DD/OSs.")
    var image = "lean-6.1"

    @Flag(help: "This machine's processors are emulated: say what that does to the figures.")
    var emulated = false

    @Option(help: ArgumentHelp("Where drover and droverd are. The default is beside this program.", valueName: "directory"))
    var programs: String?

    @Flag(help: "Print JSON instead of tables.")
    var json = false

    private var counts: [Int] { idle.split(separator: ",").compactMap { Int($0) } }

    func validate() throws {
        guard (nic == nil) == (wire == nil) else { throw ValidationError("--nic and --wire belong together: traffic has two ends") }
        guard rounds >= 1, seconds >= 1, rest >= 1 else { throw ValidationError("at least 1 round and 1 second are needed") }
        guard counts.count == idle.split(separator: ",").count, counts.allSatisfy({ (0...32).contains($0) }) else {
            throw ValidationError("--idle takes numbers from 0 to 32, separated by commas, not '\(idle)'")
        }
    }

    func run() throws {
        let programs = programs ?? WorkDirectory.ofThisProgram
        try complaining(programs: programs) {
            var report = PassthroughReport(rounds: rounds, secondsOfEachRun: seconds, isEmulated: emulated)
            if let disk {
                let bench = PassthroughDisk(address: disk, programs: programs, image: image, seconds: seconds)
                report.disk = try PassthroughReport.compare(bench, rounds: rounds)
            }
            if let nic, let wire {
                let bench = try PassthroughNIC(address: nic, wire: wire, programs: programs, image: image, seconds: seconds)
                defer { bench.remove() }
                report.network = try PassthroughReport.compare(bench, rounds: rounds)
            }
            if !counts.isEmpty {
                report.idle = try IdleSlope.measure(counts: counts, programs: programs, image: image, seconds: rest)
            }
            progress(nil)
            print(json ? try report.figures() : report.text)
        }
    }
}
