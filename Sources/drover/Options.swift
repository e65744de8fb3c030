import ArgumentParser
import ControlAPI
import ControlModel
import Foundation
import Installation

/// Where a supervisor is found.
struct SupervisorOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The supervisor's run directory.", valueName: "dir"), completion: .directory)
    var runDir: String = ProcessInfo.processInfo.environment["DROVER_RUN_DIR"] ?? "/run/drover"

    var socket: String { runDir + "/drover.sock" }

    /// Asks the supervisor, and closes the connection after.
    func withClient<Value>(_ body: (ControlClient) async throws -> Value) async throws -> Value {
        let client = ControlClient(socketPath: socket)
        do {
            let value = try await body(client)
            await client.shutdown()
            return value
        } catch {
            await client.shutdown()
            throw error
        }
    }
}

/// `--json`: for programs.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON: stable keys, sizes in bytes, durations in seconds, times in UTC.")
    var json = false

    /// Prints `value` as JSON, or what `text` makes of it.
    func print<Value: Encodable>(_ value: Value, text: (Value) -> String) throws {
        Swift.print(json ? String(decoding: try ControlJSON.encoder(pretty: true).encode(value), as: UTF8.self) : text(value))
    }
}

/// Where images come from and go to.
struct ImageOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("Packages and images are kept here.", valueName: "dir"), completion: .directory)
    var cacheDir: String = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? "/var/cache/drover"

    @Option(name: .long, help: ArgumentHelp("Folder of image recipes.", valueName: "dir"), completion: .directory)
    var images: String = Installation.recipes
}

/// The name of a DD/OS, completed from those the supervisor knows.
struct NameArgument: ParsableArguments {
    @Argument(
        help: ArgumentHelp("Name of a DD/OS.", valueName: "name"),
        completion: .shellCommand("drover ps --names 2>/dev/null"))
    var name: String
}
