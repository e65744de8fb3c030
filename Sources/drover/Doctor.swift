import ControlAPI
import ArgumentParser
import ControlModel
import Foundation
import Hypervisor
import Installation
import PCIInventory

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check what this machine has of what Drover needs.",
        discussion: """
            Says for each thing that is missing why it matters and which command mends it. Exit status 0: ready; 1: not ready. Whether DD/OSs \
            can have real devices counts only with --passthrough, or with the addresses of devices: without, they can have emulated ones.
            """)

    @Argument(help: ArgumentHelp("PCI devices that DD/OSs are to have.", valueName: "address")) var devices: [PCIAddress] = []
    @Flag(name: .long, help: "DD/OSs are to have real devices.") var passthrough = false

    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var images: ImageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let findings = await Examination(runDirectory: supervisor.runDir, cacheDirectory: images.cacheDir, recipes: images.images).findings(
            supervisor: try? await supervisor.withClient { try await $0.info() }, passthrough: passthrough || !devices.isEmpty,
            devices: devices)
        try output.print(findings) { findings in
            findings.map { finding in
                var text = "\(finding.state.mark) \(finding.subject): \(finding.text)"
                if let remedy = finding.remedy { text += "\n      → \(remedy)" }
                return text
            }.joined(separator: "\n")
        }
        let bad = findings.filter { $0.state == .missing }.count
        if !output.json { print(bad == 0 ? "ready" : "not ready: \(bad) \(bad == 1 ? "thing is" : "things are") missing") }
        if bad > 0 { throw ExitCode(1) }
    }
}

/// One thing that `drover doctor` looked at.
struct Finding: Codable {
    enum State: String, Codable {
        case good
        /// Works, but not as well as it could.
        case note
        case missing

        var mark: String {
            switch self {
            case .good: "  ok  "
            case .note: " note "
            case .missing: "MISSING"
            }
        }
    }

    var subject: String
    var state: State
    var text: String
    /// What mends it.
    var remedy: String?
}

/// Looks at this machine.
struct Examination {
    var runDirectory: String
    var cacheDirectory: String
    var recipes: String

    /// - Parameter passthrough: What real devices need has to be there.
    func findings(supervisor: SupervisorInfo?, passthrough: Bool, devices: [PCIAddress]) async -> [Finding] {
        var findings = [user(), accelerator()]
        findings += [
            program("qemu-system-x86_64", package: "qemu-system-x86", why: "runs the DD/OSs"),
            file(
                "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so", package: "libvirt-daemon-driver-qemu",
                why: "libvirt's QEMU driver"),
            libvirtUser(),
            program("apt-get", package: "apt", why: "fetches kernels"),
            program("dpkg-deb", package: "dpkg", why: "unpacks kernels"),
            own("droverd"), own("drover-client-stub"), serverStub(),
        ]
        findings += images()
        findings += [
            controlGroups(),
            supervisor.map {
                Finding(subject: "droverd", state: .good, text: "runs (process \($0.pid), \($0.accelerator)): \($0.configurationFile)")
            } ?? Finding(subject: "droverd", state: .note, text: "does not run", remedy: "drover up -f FILE"),
        ]
        return findings + self.passthrough(required: passthrough, devices: devices)
    }

    private func user() -> Finding {
        geteuid() == 0
            ? Finding(subject: "user", state: .good, text: "root")
            : Finding(
                subject: "user", state: .missing, text: "not root: DD/OSs need devices and memory that only root gets",
                remedy: "run drover with sudo")
    }

    private func accelerator() -> Finding {
        let choice = Accelerator.choose()
        return Finding(
            subject: "accelerator", state: choice.accelerator == .kvm ? .good : .note,
            text: "\(choice.accelerator.rawValue): \(choice.reason)",
            remedy: choice.accelerator == .kvm
                ? nil : "enable virtualisation (SVM or VT-x) in the firmware; without it Drover works, slowly")
    }

    private func program(_ name: String, package: String, why: String) -> Finding {
        let path = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"].map { "\($0)/\(name)" }.first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        return path.map { Finding(subject: name, state: .good, text: $0) }
            ?? Finding(
                subject: name, state: .missing, text: "not installed; it \(why)",
                remedy: "apt-get install --no-install-recommends \(package)")
    }

    private func file(_ path: String, package: String, why: String) -> Finding {
        FileManager.default.fileExists(atPath: path)
            ? Finding(subject: why, state: .good, text: path)
            : Finding(subject: why, state: .missing, text: "no \(path)", remedy: "apt-get install --no-install-recommends \(package)")
    }

    private func libvirtUser() -> Finding {
        getpwnam("libvirt-qemu") != nil
            ? Finding(subject: "user libvirt-qemu", state: .good, text: "exists")
            : Finding(
                subject: "user libvirt-qemu", state: .missing, text: "does not exist; libvirt's QEMU driver does not start without it",
                remedy: "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin libvirt-qemu")
    }

    private func own(_ name: String) -> Finding {
        (try? Installation.program(name)).map { Finding(subject: name, state: .good, text: $0) }
            ?? Finding(subject: name, state: .missing, text: "not beside this program", remedy: "make, or set DROVER_LIBEXEC")
    }

    private func serverStub() -> Finding {
        (try? Installation.serverStub()).map { Finding(subject: "server stub", state: .good, text: $0) }
            ?? Finding(
                subject: "server stub", state: .missing, text: "drover-server-stub.guest is not beside this program",
                remedy: "make, or set DROVER_SERVER_STUB")
    }

    /// Version 2 is one hierarchy whose root names its controllers; version 1 has a folder for each.
    private func controlGroups() -> Finding {
        let root = "/sys/fs/cgroup"
        let unified = ((try? String(contentsOfFile: root + "/cgroup.controllers", encoding: .utf8)) ?? "").split { $0.isWhitespace }
        let missing = ["cpu", "memory"].filter { controller in
            !unified.contains { $0 == controller } && !FileManager.default.fileExists(atPath: "\(root)/\(controller)/cgroup.procs")
        }
        return missing.isEmpty
            ? Finding(subject: "control groups", state: .good, text: "cpu and memory: 'limits' of a DD/OS can be kept")
            : Finding(
                subject: "control groups", state: .note,
                text: "no controller \(missing.joined(separator: " and ")): a DD/OS with 'limits' will not start",
                remedy: "mount the control groups at \(root), or write no 'limits'")
    }
}
