import ArgumentParser
import ControlAPI
import ControlModel
import Foundation
import Installation

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop every DD/OS and the supervisor.",
        discussion: """
            Nothing is left behind: no process, no socket. Acknowledged writes are on the devices. Where droverd has died, what it had \
            running is stopped all the same.
            """)

    @OptionGroup var supervisor: SupervisorOptions
    @Option(name: .long, help: ArgumentHelp("As for 'drover up': needed only where droverd has died.", valueName: "uri"))
    var libvirtURI: String?

    func run() async throws {
        do {
            try await supervisor.withClient { client in
                try await client.down()
                for _ in 0..<200 where (try? await client.info()) != nil { try await Task.sleep(for: .milliseconds(50)) }
            }
        } catch let error as ControlError where error.body.code == .unavailable && hasLeftovers {
            try await endLeftovers()
        }
        print("everything is stopped")
    }

    /// What a supervisor that has died left: each DD/OS that was not stopped has a state file, an interface a journal, and so has a device.
    private var hasLeftovers: Bool {
        let files = FileManager.default
        func names(_ folder: String) -> [String] { (try? files.contentsOfDirectory(atPath: folder)) ?? [] }
        let machines = supervisor.runDir + "/ddos"
        return !names(supervisor.runDir + "/devices").isEmpty
            || names(machines).contains { name in
                ["state.json", "interface.json"].contains { files.fileExists(atPath: "\(machines)/\(name)/\($0)") }
            }
    }

    private func endLeftovers() async throws {
        print("droverd is not running; ending what it has left in \(supervisor.runDir)")
        let daemon: String
        do {
            daemon = try Installation.program("droverd")
        } catch {
            throw Complaint("\(error).")
        }
        let log = supervisor.runDir + "/droverd.log"
        let uri = libvirtURI.map { ["--libvirt-uri", $0] } ?? []
        let process = try Daemon.start(daemon, arguments: ["--end-all", "--run-dir", supervisor.runDir] + uri, log: log)
        while !process.hasExited { try await Task.sleep(for: .milliseconds(50)) }
        guard process.process.terminationStatus == 0 else {
            throw Complaint(process.lastWords ?? "droverd ended with status \(process.process.terminationStatus); see \(log).")
        }
    }
}
