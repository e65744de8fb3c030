import ArgumentParser
import Foundation

struct MemoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory",
        abstract: "The least memory that a DD/OS works in, for each device.",
        discussion: """
            A DD/OS of each emulated device gets what its image's recipe says, then less, by halving. What counts as working, several times in a row: \
            it becomes ready, a disk then takes a client's writes at depth 32 and of 1 MiB, and a NIC carries four TCP streams out and in, in the \
            longest frames that its driver takes. The recipes' own figures are these and room to spare.
            """)

    static let everyDevice = MemoryNeed.disks + MemoryNeed.cards

    @Option(help: "Image of the DD/OSs.")
    var image = "lean-6.1"

    @Option(help: ArgumentHelp("Only these devices, separated by commas: \(everyDevice.joined(separator: ", ")).", valueName: "names"))
    var devices = everyDevice.joined(separator: ",")

    @Option(help: ArgumentHelp("Steps, in MiB.", valueName: "MiB"))
    var step = 4

    @Option(help: "Starts in a row that have to succeed.")
    var starts = 3

    @Option(help: ArgumentHelp("Where drover and droverd are. The default is beside this program.", valueName: "directory"))
    var programs: String?

    @Flag(help: "Print JSON instead of a table.")
    var json = false

    private var names: [String] { devices.split(separator: ",").map(String.init) }

    func validate() throws {
        guard step >= 1, starts >= 1 else { throw ValidationError("steps of at least 1 MiB and at least 1 start are needed") }
        for name in names where !Self.everyDevice.contains(name) {
            throw ValidationError("unknown device '\(name)': there are \(Self.everyDevice.joined(separator: ", "))")
        }
    }

    func run() throws {
        let programs = programs ?? WorkDirectory.ofThisProgram
        try complaining(programs: programs) {
            var needs: [MemoryNeed] = []
            if !json { print(MemoryNeed.header(image: image, starts: starts)) }
            for name in names {
                let need = try MemoryNeed.measure(device: name, image: image, step: step, starts: starts, programs: programs)
                progress(nil)
                needs.append(need)
                if !json { print(need.text) }
            }
            if json { try print(needs.figures()) }
        }
    }
}
