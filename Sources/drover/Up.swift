import ArgumentParser
import ControlAPI
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import Installation
import PCIInventory

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start the supervisor and the DD/OSs of a configuration.",
        discussion: """
            Checks the file, starts droverd in the background and returns when every DD/OS with 'autostart' is ready or has failed; if one \
            has, the exit status is 1, and the others run on. Images that are not in the cache are built first, from Debian's packages. The \
            supervisor's log is RUN/droverd.log.
            """)

    @Option(name: [.customShort("f"), .customLong("file")], help: "The configuration.", completion: .file(extensions: ["yaml", "yml"]))
    var file = "/etc/drover/drover.yaml"
    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var images: ImageOptions
    @Option(name: .long, help: ArgumentHelp("libvirt's connection URI.", valueName: "uri")) var libvirtURI: String?
    @Option(name: .long, help: "auto, tcg or kvm.", completion: .list(["auto", "tcg", "kvm"])) var accelerator = "auto"
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Take this PCI device even when the host is using it, which breaks what uses it. May be repeated.", valueName: "address"))
    var force: [String] = []
    @Flag(name: .long, help: "Return as soon as the supervisor answers.") var noWait = false

    func validate() throws {
        guard (["auto"] + Accelerator.allCases.map(\.rawValue)).contains(accelerator) else {
            throw ValidationError("There is no accelerator '\(accelerator)'; there are: auto, tcg, kvm.")
        }
    }

    func run() async throws {
        let configuration = try load()
        for address in force where PCIAddress(address) == nil {
            throw Complaint("--force \(address): that is no PCI address such as 0000:01:00.0; 'drover devices' lists them.", status: 2)
        }
        if let running = try? await supervisor.withClient({ try await $0.info() }) {
            throw Complaint(
                "droverd runs already (process \(running.pid), \(running.configurationFile)); stop it with 'drover down', or give this one "
                    + "another --run-dir.", status: 5)
        }
        let daemon: String
        do {
            daemon = try Installation.program("droverd")
        } catch {
            throw Complaint("\(error).")
        }
        let log = supervisor.runDir + "/droverd.log"
        let process = try Daemon.start(daemon, arguments: arguments, log: log)
        try await supervisor.withClient { client in
            try await untilAnswered(client, process: process, log: log)
            let names = Set(configuration.ddos.filter(\.autostart).map(\.name))
            do {
                if !noWait { try await StartProgress(client: client).untilReady(names) }
            } catch let complaint as Complaint {
                print(Ps.table(try await client.list()))
                throw complaint
            }
            print(Ps.table(try await client.list()))
        }
    }

    private func load() throws -> Configuration {
        do {
            return try Configuration.load(
                file: file, models: DeviceModel.allCases.map(\.rawValue), nics: NetworkModel.allCases.map(\.rawValue))
        } catch {
            throw Complaint("\(error)", status: 2)
        }
    }

    private var arguments: [String] {
        var arguments = [
            "--config", file, "--run-dir", supervisor.runDir, "--cache-dir", images.cacheDir, "--images", images.images, "--accelerator",
            accelerator,
        ]
        if let libvirtURI { arguments += ["--libvirt-uri", libvirtURI] }
        for address in force { arguments += ["--force", address] }
        return arguments
    }

    private func untilAnswered(_ client: ControlClient, process: Daemon, log: String) async throws {
        for _ in 0..<600 {
            if (try? await client.info()) != nil { return }
            if process.hasExited {
                throw Complaint(process.lastWords ?? "droverd ended at once and said nothing; see \(log).")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Complaint("droverd did not answer within 30 s; see \(log).", status: 6)
    }
}
