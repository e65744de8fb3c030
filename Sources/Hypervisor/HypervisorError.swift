/// Why a virtual machine could not be started, watched or ended.
///
/// ``description`` says what happened and to what; ``remedy`` what a person can do about it.
public enum HypervisorError: Error, Sendable, Equatable {
    /// libvirt needs this system user or group.
    case missingAccount(name: String)
    /// No QEMU at this path, or under this name in PATH.
    case missingEmulator(String)
    /// libvirt's QEMU driver is not installed.
    case missingDriver(detail: String)
    /// Another process, a second supervisor, has the root open. `pid` when it is known.
    case rootInUse(root: String, pid: Int32?)
    case notPermitted(operation: String)
    /// A Unix socket's path may have `limit` bytes.
    case pathTooLong(path: String, limit: Int)
    case fileMissing(machine: String, path: String)
    case insufficientMemory(machine: String, detail: String)
    /// The disk's file or the PCI device is in use by somebody else.
    case deviceBusy(machine: String, detail: String)
    /// No such PCI device, no IOMMU, or its group is shared.
    case deviceUnavailable(machine: String, detail: String)
    /// Nobody listens on the vsock device's socket, or what listens does not speak vhost-user.
    case vsockUnavailable(machine: String, detail: String)
    case invalidBackingFile(path: String, reason: String)
    /// Bytes.
    case diskFull(path: String, needed: UInt64, available: UInt64)
    case acceleratorUnavailable(machine: String, detail: String)
    /// The host has no control group that could keep a limit of CPU or memory.
    case limitUnavailable(machine: String, detail: String)
    case alreadyRunning(machine: String)
    case notRunning(machine: String)
    /// A machine of this libvirt has the DD/OS's name, and is not Drover's.
    case nameTaken(machine: String)
    case invalidSpec(machine: String, reason: String)
    /// Anything else that QEMU or libvirt said when the machine was started, QEMU's own words included.
    case startFailed(machine: String, detail: String)
    case timedOut(machine: String, operation: String, seconds: Double)
    /// Anything else that libvirt reports.
    case libvirt(operation: String, message: String)
    case system(operation: String, path: String, errno: Int32)
}

extension HypervisorError: CustomStringConvertible {
    /// What happened, and to what: one sentence or two, without the remedy.
    public var description: String {
        switch self {
        case .missingAccount(let name): "libvirt needs the system user and group '\(name)', which this machine does not have."
        case .missingEmulator(let path): "There is no QEMU at \(path)."
        case .missingDriver(let detail): "libvirt's QEMU driver is not there: \(detail)."
        case .rootInUse(let root, let pid):
            "The directory \(root) is in use by another supervisor\(pid.map { " (process \($0))" } ?? "")."
        case .notPermitted(let operation): "This user may not \(operation)."
        case .pathTooLong(let path, let limit):
            "The path \(path) is too long for a socket: it has \(path.utf8.count) bytes of at most \(limit)."
        case .fileMissing(let machine, let path): "\(machine): there is no file \(path)."
        case .insufficientMemory(let machine, let detail): "\(machine): not enough memory: \(detail)."
        case .deviceBusy(let machine, let detail): "\(machine): the device is busy: \(detail)."
        case .deviceUnavailable(let machine, let detail): "\(machine): the device cannot be passed through: \(detail)."
        case .vsockUnavailable(let machine, let detail): "\(machine): the client stub does not answer on its vsock socket: \(detail)."
        case .invalidBackingFile(let path, let reason): "The backing file \(path) cannot be used: \(reason)."
        case .diskFull(let path, let needed, let available):
            "The disk is full: \(path) needs \(ByteCount.text(needed)), and \(ByteCount.text(available)) are free."
        case .acceleratorUnavailable(let machine, let detail): "\(machine): KVM cannot be used: \(detail)."
        case .limitUnavailable(let machine, let detail): "\(machine): its limits cannot be kept: \(detail)."
        case .alreadyRunning(let machine): "\(machine): a machine of this name is running already."
        case .notRunning(let machine): "\(machine): there is no such machine running."
        case .nameTaken(let machine): "\(machine): a virtual machine of somebody else's has this name in the same libvirt."
        case .invalidSpec(let machine, let reason): "\(machine): \(reason)."
        case .startFailed(let machine, let detail): "\(machine): the machine did not start: \(detail)."
        case .timedOut(let machine, let operation, let seconds): "\(machine): \(operation) took longer than \(Self.text(seconds: seconds))."
        case .libvirt(let operation, let message): "libvirt could not \(operation): \(message)."
        case .system(let operation, let path, let errno): "Could not \(operation) \(path): \(SystemText.reason(errno))."
        }
    }

    /// What a person can do about it; nil where there is nothing general to say.
    public var remedy: String? {
        switch self {
        case .missingAccount(let name): "Create them: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin \(name)"
        case .missingEmulator: "Install it: apt-get install qemu-system-x86"
        case .missingDriver: "Install it: apt-get install libvirt-daemon-driver-qemu"
        case .rootInUse: "Talk to the supervisor that runs, stop it first, or give this one a run directory of its own (--run-dir)."
        case .notPermitted: "Run the supervisor as root."
        case .pathTooLong: "Use a shorter run directory (--run-dir) or a shorter name."
        case .fileMissing: "Build the image again (drover image build), or correct the path in the configuration."
        case .insufficientMemory: "Give the DD/OS less memory, or stop something else."
        case .deviceBusy: "Find the other user (fuser, lsof, drover ps) and stop it; then start the DD/OS again."
        case .deviceUnavailable:
            "Check that the IOMMU is on (kernel parameter intel_iommu=on or amd_iommu=on, and in the firmware), that the address is right (lspci -D), and that the device has its IOMMU group to itself."
        case .vsockUnavailable: "See the client stub's log (stub.log in the DD/OS's directory)."
        case .invalidBackingFile: "Name another file, or correct the size in the configuration."
        case .diskFull: "Make room, or name a file on another file system."
        case .acceleratorUnavailable: "Use the accelerator tcg, or auto."
        case .limitUnavailable: "Mount the control groups 'cpu' and 'memory' (drover doctor), or take 'limits' out of the configuration."
        case .alreadyRunning: "Stop it first."
        case .nameTaken: "Give the DD/OS another name in the configuration, or start droverd without --libvirt-uri."
        case .timedOut: "Look at the console and at the machine's load; then try again."
        case .notRunning, .invalidSpec, .startFailed, .libvirt, .system: nil
        }
    }

    private static func text(seconds: Double) -> String {
        seconds == seconds.rounded() ? "\(Int(seconds)) s" : "\((seconds * 10).rounded() / 10) s"
    }
}
