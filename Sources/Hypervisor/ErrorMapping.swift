import CLibvirt

/// From the words of libvirt and QEMU to what happened. Neither gives codes for most of it.
enum ErrorMapping {
    /// A failed `virConnectOpen`.
    static func opening(_ error: LibvirtError, root: String, holder: Int32?) -> HypervisorError {
        let text = error.message.lowercased()
        if text.contains("pid file") && (text.contains("resource temporarily unavailable") || text.contains("acquire")) {
            return .rootInUse(root: root, pid: holder)
        }
        if error.hasCode(VIR_ERR_NO_CONNECT) || text.contains("failed to load module") || text.contains("no connection driver") {
            return .missingDriver(detail: sentence(error.message))
        }
        if text.contains("permission denied") { return .notPermitted(operation: "use libvirt in \(root) (\(sentence(error.message)))") }
        return .libvirt(operation: "open its connection", message: sentence(error.message))
    }

    /// A start that failed. `log`: what QEMU printed on its own stderr.
    static func starting(_ error: LibvirtError, spec: VirtualMachineSpec, log: [String]) -> HypervisorError {
        let name = spec.name
        let own = log.map(stripped).filter { !$0.isEmpty }
        let said = own.last ?? lastLine(error.message)
        let text = (error.message + "\n" + own.joined(separator: "\n")).lowercased()
        func has(_ words: String...) -> Bool { words.contains { text.contains($0) } }

        if has("already exists with uuid", "is already active", "already being started") { return .alreadyRunning(machine: name) }
        if has("failed to get \"write\" lock", "failed to get shared", "device or resource busy", "is in use by driver") {
            return .deviceBusy(machine: name, detail: said)
        }
        if case .emulatedNIC(let nic) = spec.device, has("specified dev doesn't exist") {
            return .startFailed(machine: name, detail: "there is no TAP device '\(nic.tap)' for the NIC's wire")
        }
        if let socket = spec.vsockSocket, has("vhost-user", "failed to connect to '\(socket.lowercased())'", "failed to connect socket") {
            return .vsockUnavailable(machine: name, detail: said)
        }
        if has("cannot allocate memory", "cannot set up guest memory", "unable to map backing store") {
            return .insufficientMemory(machine: name, detail: said)
        }
        if has(
            "does not support virt type 'kvm'", "access kvm kernel module", "failed to initialize kvm", "kvm is not available",
            "invalid accelerator")
        {
            return .acceleratorUnavailable(machine: name, detail: said)
        }
        // A KVM that is none ends QEMU with an assertion in its own files.
        if spec.accelerator == .kvm, has("kvm") { return .acceleratorUnavailable(machine: name, detail: said) }
        if has("cannot find qemu binary", "cannot check qemu binary")
            || has("qemu-system") && has("no emulator found", "cannot execute binary")
        {
            return .missingEmulator(said)
        }
        if case .pci = spec.device, has("pci", "vfio", "iommu") { return .deviceUnavailable(machine: name, detail: said) }
        if has("cgroup") { return .limitUnavailable(machine: name, detail: said) }
        if has("no space left on device") { return .startFailed(machine: name, detail: said + " (the disk is full)") }
        return .startFailed(machine: name, detail: said)
    }

    /// Any other call on a machine.
    static func calling(_ error: LibvirtError, operation: String, machine: String) -> HypervisorError {
        let text = error.message.lowercased()
        if error.hasCode(VIR_ERR_NO_DOMAIN) || text.contains("domain is not running") || text.contains("no domain with matching") {
            return .notRunning(machine: machine)
        }
        if error.hasCode(VIR_ERR_OPERATION_TIMEOUT) || text.contains("timed out during operation") {
            return .timedOut(machine: machine, operation: operation, seconds: 30)
        }
        return .libvirt(operation: "\(operation) \(machine)", message: sentence(error.message))
    }

    /// The words themselves: without the log's time stamp, QEMU's name, the argument that it was about, and libvirt's class of error.
    static func stripped(_ line: String) -> String {
        var line = Substring(line)
        // "2026-11-21T08:00:00.123456Z qemu-system-x86_64: -blockdev {…}: Failed to …"
        if let first = line.split(separator: " ", maxSplits: 1).first, first.count > 20, first.hasSuffix("Z"), first.contains("T") {
            line = line.dropFirst(first.count + 1)
        }
        if line.hasPrefix("qemu-system"), let colon = line.firstRange(of: ": ") { line = line[colon.upperBound...] }
        // The argument has no ": " in it, except for JSON, which ends with "}: ".
        if line.hasPrefix("-"), let colon = line.firstRange(of: line.contains("}: ") ? "}: " : ": ") { line = line[colon.upperBound...] }
        for prefix in [
            "internal error: ", "unsupported configuration: ", "operation failed: ", "qemu unexpectedly closed the monitor: ", "qemu: ",
        ]
        where line.hasPrefix(prefix) { line = line.dropFirst(prefix.count) }
        return sentence(String(line))
    }

    private static func lastLine(_ message: String) -> String {
        stripped(message.split(separator: "\n").last.map(String.init) ?? message)
    }

    /// Without a full stop at the end: the sentence around it has one.
    static func sentence(_ text: String) -> String {
        var text = Substring(text)
        while let last = text.last, last == "." || last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
