import ArgumentParser
import ControlModel

/// `drover`: what a person types.
@main
struct DroverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover",
        abstract: "Run device drivers in virtual machines of their own, and keep their devices usable when they crash.",
        discussion: """
            Each device has a DD/OS (device-driver OS): a small VM with the device and its unmodified driver. The supervisor, droverd, \
            starts and watches DD/OSs and replaces them when they fail; programs on the host see a pause, not an error.

            EXAMPLES
              drover doctor                    what is missing on this machine
              drover devices                   PCI devices a DD/OS can take
              drover up -f Configs/demo.yaml   start droverd and every DD/OS
              drover ps                        what runs
              nbdinfo --list nbd+unix://?socket=/run/drover/nbd/nvme0.sock
              drover inject nvme0 panic        crash the driver, on purpose
              drover events -f                 watch it come back
              drover report --interval 10      what it costs
              drover down                      stop everything

            FILES
              /run/drover/drover.sock          HTTP and JSON, mode 0600
              /run/drover/nbd/NAME.sock        a DD/OS's NBD front end
              /run/drover/ddos/NAME/           its console.log, stub.log, sockets
              /run/drover/droverd.log          the supervisor's log
              /var/cache/drover/               packages and images

            ENVIRONMENT
              DROVER_RUN_DIR      default of --run-dir
              DROVER_CACHE_DIR    default of --cache-dir
              DROVER_IMAGES       default of --images
              DROVER_LIBEXEC      where Drover's other programs are

            EXIT STATUS
              0  done                          5  not possible at present
              1  failed                        6  took too long
              2  the request made no sense    64  wrong usage
              3  droverd does not run
              4  no such DD/OS, device or image

            FOR PROGRAMS
              With --json a command prints what the control socket answers:
              curl --unix-socket /run/drover/drover.sock http://drover/v1/ddos
              README.md, "For programs", lists the requests and the keys.

            SHELL COMPLETION
              drover --generate-completion-script bash (or zsh, or fish)
            """,
        version: "0.1.0",
        subcommands: [
            Doctor.self, Devices.self, Release.self, Up.self, Down.self, Ps.self, Inspect.self, Start.self, Stop.self, Restart.self,
            Logs.self, Events.self, Net.self,
            Report.self, Inject.self, ImageCommand.self,
        ])

    static func main() async {
        do {
            var command = try parseAsRoot(nil)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as ControlError {
            Complaint.print(error.body.message)
            exit(withError: ExitCode(error.body.code.exitStatus))
        } catch let error as Complaint {
            Complaint.print(error.message)
            exit(withError: ExitCode(error.status))
        } catch {
            exit(withError: error)
        }
    }
}
