import ArgumentParser
import Foundation

@main
struct DroverBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover-bench",
        abstract: "Measures what Drover costs.",
        discussion: "Machines are shared and noisy: what is compared runs in turns, and ratios are taken within each round.",
        subcommands: [FiguresCommand.self, MemoryCommand.self, PassthroughCommand.self],
        defaultSubcommand: FiguresCommand.self)
}

/// Shows a person at a terminal what is going on; nil: nothing any more.
func progress(_ text: String?) {
    guard isatty(STDERR_FILENO) == 1 else { return }
    FileHandle.standardError.write(Data("\r\u{1b}[K\(text ?? "")".utf8))
}

/// A sentence for the person at the terminal.
struct BenchFailure: Error {
    let text: String
}

/// Says why it did not work, and ends the program with a failure. A signal that ends it leaves nothing behind; what a run that was
/// killed has left, this one takes away first.
///
/// - Parameters:
///   - programs: where `drover` is.
///   - directory: where work directories are made, besides the usual places.
func complaining(programs: String, directory: String? = nil, _ body: () throws -> Void) throws {
    let places = Belongings.places.union([directory].compactMap(\.self))
    let drover = programs + "/drover"
    Interruption.prepare(places: places, drover: drover)
    for left in Belongings.ofTheDead(in: places) {
        FileHandle.standardError.write(Data("drover-bench: taking away what run \(left.process), which was killed, has left\n".utf8))
        left.remove(in: places, drover: drover)
    }
    do {
        try body()
    } catch let failure as BenchFailure {
        // Whose child is killed for the interruption's sake has nothing to complain of.
        Interruption.checkpoint()
        FileHandle.standardError.write(Data("drover-bench: \(failure.text)\n".utf8))
        throw ExitCode.failure
    }
}
