/// Why a virtual machine could not be started, watched or ended. Its description says what happened, to what, and what to do.
public enum HypervisorError: Error, Sendable, Equatable {
    /// libvirt needs this user or group.
    case missingAccount(name: String)
    /// No QEMU at this path or in PATH.
    case missingEmulator(String)
    /// libvirt's QEMU driver is not installed.
    case missingDriver(detail: String)
    /// Another process (a second supervisor) has the root open.
    case rootInUse(root: String, pid: Int32?)
    case notPermitted(operation: String)
    /// A Unix socket's path may have `limit` bytes.
    case pathTooLong(path: String, limit: Int)
    case fileMissing(machine: String, path: String)
    case insufficientMemory(machine: String, detail: String)
    /// The disk file or PCI device is in use by someone else.
    case deviceBusy(machine: String, detail: String)
    /// No such PCI device, no IOMMU, not bound.
    case deviceUnavailable(machine: String, detail: String)
    case invalidBackingFile(path: String, reason: String)
    case diskFull(path: String, needed: UInt64, available: UInt64)
    case acceleratorUnavailable(machine: String, detail: String)
    case alreadyRunning(machine: String)
    case notRunning(machine: String)
    case invalidSpec(machine: String, reason: String)
    case startFailed(machine: String, detail: String)
    case timedOut(machine: String, operation: String, seconds: Double)
    /// Anything else that libvirt reports.
    case libvirt(operation: String, message: String)
    case system(operation: String, path: String, errno: Int32)
}
