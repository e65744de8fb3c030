import ArgumentParser
import ControlAPI
import ControlModel
import Foundation

/// `make demo`: two drivers in VMs of their own, one of them crashed three ways in the middle of a verified workload.
@main
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover-demo",
        abstract: "Crash a disk driver three ways under load, and lose nothing.",
        discussion: "Uses folders of its own and leaves nothing behind. Exit status 1 if anything was lost or left.")

    @Option(name: .long, help: "MiB written to and verified on each disk.") var mebibytes = 96

    func run() async throws {
        let stage = Stage()
        let demo = try Demo(stage: stage, mebibytes: mebibytes)
        // Ctrl-C ends the show, not the cleaning up.
        signal(SIGINT, SIG_IGN)
        let interrupt = DispatchSource.makeSignalSource(signal: SIGINT)
        let show = Task { try await demo.run() }
        interrupt.setEventHandler { show.cancel() }
        interrupt.resume()
        let result = await show.result
        await demo.cleanUp()
        do {
            try result.get()
            try demo.checkNothingIsLeft()
        } catch is CancellationError {
            stage.line("interrupted")
            throw ExitCode(130)
        } catch {
            FileHandle.standardError.write(Data("drover-demo: \(error)\n".utf8))
            throw ExitCode(1)
        }
        stage.line(stage.green(stage.bold("done")) + "; everything is stopped and nothing is left")
    }
}
