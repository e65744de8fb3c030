import ArgumentParser
import ControlAPI
import DroverConfiguration
import Foundation
import Hypervisor
import Logging
import ServiceLifecycle
import Supervision
import UnixSignals

@main
struct Droverd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "droverd",
        abstract: "Drover's supervisor: starts, watches, restarts and accounts for DD/OSs.",
        discussion: """
            One supervisor works in one run directory. It stays in the foreground and logs to standard error: an init system, or \
            'drover up', puts it into the background.

            SIGTERM and SIGINT end the supervisor and nothing else: virtual machines and client stubs go on, clients notice nothing, and \
            the next droverd on the same run directory adopts them. So does SIGKILL. To stop the DD/OSs, use 'drover down'.

            Environment: DROVER_RUN_DIR, DROVER_CACHE_DIR and DROVER_IMAGES are the defaults of the options below; DROVER_LIBEXEC is where \
            drover-client-stub and drover-server-stub.guest are, if not beside this program.

            Exit status: 0 after SIGTERM or 'drover down', 2 for a configuration with errors, 1 for anything else.
            """)

    @Option(
        help: ArgumentHelp("The configuration; see Configs/reference.yaml.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"]))
    var config = "/etc/drover/drover.yaml"

    @Option(help: ArgumentHelp("Sockets, logs and state of what runs.", valueName: "directory"), completion: .directory)
    var runDir = ProcessInfo.processInfo.environment["DROVER_RUN_DIR"] ?? "/run/drover"

    @Option(help: ArgumentHelp("Packages and images; safe to delete while nothing runs.", valueName: "directory"), completion: .directory)
    var cacheDir = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? "/var/cache/drover"

    @Option(
        name: .customLong("images"),
        help: ArgumentHelp("Image recipes. Default: Images/ of the checkout, else /usr/share/drover/images.", valueName: "directory"),
        completion: .directory)
    var recipes: String?

    @Option(name: .customLong("libvirt-uri"), help: ArgumentHelp("Default: qemu:///embed, libvirt inside this process.", valueName: "uri"))
    var libvirtURI: String?

    @Option(
        help: "auto: kvm where a stock kernel really runs under it, else tcg. Or tcg, or kvm.", completion: .list(["auto", "tcg", "kvm"]))
    var accelerator = "auto"

    @Option(
        help: ArgumentHelp("A PCI device to take even when the host is using it. May be repeated.", valueName: "address"))
    var force: [String] = []

    @Option(help: "trace, debug, info, notice, warning, error or critical; for the client stubs too.")
    var logLevel = "info"

    @Flag(
        help: """
            End every DD/OS that an earlier droverd has left in the run directory, adopt and start none, and exit. No configuration is read.
            """)
    var endAll = false

    @Flag(help: "Has no effect: droverd never leaves the foreground. For init scripts that say it.")
    var foreground = false

    func validate() throws {
        guard accelerator == "auto" || Accelerator(rawValue: accelerator) != nil else {
            throw ValidationError("There is no accelerator '\(accelerator)': use auto, tcg or kvm.")
        }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("There is no log level '\(logLevel)': use trace, debug, info, notice, warning, error or critical.")
        }
    }

    func run() async throws {
        var logger = Logger(label: "droverd", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        do {
            let configuration =
                endAll
                ? Configuration(ddos: [])
                : try Configuration.load(
                    file: config, models: DeviceModel.allCases.map(\.rawValue), nics: NetworkModel.allCases.map(\.rawValue))
            var options = SupervisorOptions(
                configurationFile: config, runDirectory: runDir, cacheDirectory: cacheDir, libvirtURI: libvirtURI,
                accelerator: Accelerator(rawValue: accelerator), recipesDirectory: recipes, logLevel: logLevel)
            options.forcedDevices = force
            let supervisor = try await Supervisor(configuration, options: options, logger: logger)
            if endAll { return try await supervisor.endAll() }
            let api = ControlServer(
                service: supervisor, socketPath: RunDirectory(path: options.runDirectory).apiSocket, logger: logger)
            var group = ServiceGroupConfiguration(
                services: [
                    // Shut down in reverse: first the supervisor, whose end ends the event streams that the API still serves.
                    .init(service: api),
                    .init(service: supervisor, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: Self.quiet(logger))
            group.maximumGracefulShutdownDuration = .seconds(90)
            try await ServiceGroup(configuration: group).run()
        } catch {
            FileHandle.standardError.write(Data("droverd: \(explanation(of: error))\n".utf8))
            throw ExitCode(error is ConfigurationError ? 2 : 1)
        }
    }

    /// The service group tells at level debug and info what nobody asked for.
    private static func quiet(_ logger: Logger) -> Logger {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        return quiet
    }
}
