import ControlAPI
import ArgumentParser
import ControlModel
import Foundation

struct Events: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what happened.",
        discussion: "Starts, failures with their cause, recoveries with their durations, injected faults. With --json one object a line.")

    @OptionGroup var supervisor: SupervisorOptions
    @Flag(name: .shortAndLong, help: "Go on printing events as they happen.") var follow = false
    @Option(name: .long, help: ArgumentHelp("From this sequence number on.", valueName: "number")) var from: UInt64 = 1
    @Flag(name: .long, help: "Print JSON, one object a line.") var json = false

    func run() async throws {
        try await supervisor.withClient { client in
            for try await event in try await client.events(from: from, follow: follow) {
                print(json ? String(decoding: try ControlJSON.encoder().encode(event), as: UTF8.self) : Self.line(event))
                fflush(nil)
            }
        }
    }

    static func line(_ event: Event) -> String {
        let name = (event.ddos ?? "droverd").padding(toLength: 12, withPad: " ", startingAt: 0)
        let kind = event.kind.rawValue.padding(toLength: 14, withPad: " ", startingAt: 0)
        return "\(Figures.time(event.time))  \(name)  \(kind)  \(event.message)"
    }
}
