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
              drover doctor                      what this machine can do, and what is missing
              drover up -f Configs/demo.yaml     start the supervisor and every DD/OS in the file
              drover ps                          what runs
              nbdinfo --list nbd+unix://?socket=/run/drover/nbd/nvme0.sock
              drover inject nvme0 panic          crash the driver's kernel, on purpose
              drover events -f                   watch it come back
              drover report --interval 10        what it costs
              drover down                        stop everything

            FILES
              /run/drover/drover.sock            the control socket (HTTP and JSON, mode 0600)
              /run/drover/nbd/NAME.sock          the NBD front end of a DD/OS
              /run/drover/ddos/NAME/             console.log, stub.log and sockets of a DD/OS
              /var/cache/drover/                 packages and images

            ENVIRONMENT
              DROVER_RUN_DIR, DROVER_CACHE_DIR, DROVER_IMAGES, DROVER_LIBEXEC: as --run-dir, --cache-dir, --images; where the other \
            programs of Drover are.

            EXIT STATUS
              0 done; 1 failed; 2 the request made no sense; 3 droverd does not run; 4 no such DD/OS or image; 5 not possible in the \
            present state; 6 took too long; 64 wrong usage.

            SHELL COMPLETION
              drover --generate-completion-script bash > /etc/bash_completion.d/drover   (or zsh, fish)
            """,
        version: "0.1.0",
        subcommands: [
            Doctor.self, Up.self, Down.self, Ps.self, Inspect.self, Start.self, Stop.self, Restart.self, Logs.self, Events.self,
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
