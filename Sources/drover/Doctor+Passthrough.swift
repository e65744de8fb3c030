import Foundation
import PCIInventory

extension Examination {
    /// What decides whether a DD/OS can have a real device. Where nobody asked for one, what is missing is a note.
    func passthrough(required: Bool, devices addresses: [PCIAddress]) -> [Finding] {
        let state = IOMMUState.read()
        let bad: Finding.State = required ? .missing : .note
        return [
            virtualMachine(), iommu(state, bad), interruptRemapping(state, bad), groups(state), vfio(bad), unsafeInterrupts(),
            lockedMemory(bad),
        ]
        .compactMap(\.self) + addresses.map(device)
    }

    private func virtualMachine() -> Finding? {
        let flags = read("/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
        let words = flags.split(whereSeparator: { $0 == " " || $0 == "\t" })
        guard words.contains("hypervisor") else { return nil }
        let nested = words.contains("svm") || words.contains("vmx")
        return Finding(
            subject: "nesting", state: .note,
            text: "this machine is a virtual machine itself; "
                + (nested ? "it may run others on its hardware (nested)" : "its hypervisor doesn't let it run others on the hardware"),
            remedy: nested ? nil : "on the outer machine: modprobe kvm_intel nested=1 (or kvm_amd), and give this one the host's CPU model")
    }

    private func iommu(_ state: IOMMUState, _ bad: Finding.State) -> Finding {
        guard state.isOn else {
            return Finding(
                subject: "IOMMU", state: bad,
                text: "off: DD/OSs can have emulated devices, no real ones; a device's DMA could reach all of memory",
                remedy: state.objection?.remedy)
        }
        return Finding(subject: "IOMMU", state: .good, text: "on (\(state.units.joined(separator: ", ")))")
    }

    private func interruptRemapping(_ state: IOMMUState, _ bad: Finding.State) -> Finding? {
        guard state.isOn else { return nil }
        if let objection = state.objection {
            return Finding(subject: "interrupt remapping", state: bad, text: "off: \(objection.reason)", remedy: objection.remedy)
        }
        return Finding(subject: "interrupt remapping", state: .good, text: "on")
    }

    private func groups(_ state: IOMMUState) -> Finding? {
        guard state.isOn, let reports = try? Devices.reports(runDirectory: runDirectory) else { return nil }
        let free = reports.filter { $0.takeable == .yes || $0.takeable == .taken }
        let shared = reports.filter { report in report.objections.contains { $0.reason.contains("is shared with") } }
        var text = "\(free.count) of \(reports.count) PCI functions can be taken"
        if !shared.isEmpty { text += "; \(shared.map(\.address).joined(separator: ", ")) share IOMMU groups" }
        return Finding(
            subject: "devices", state: free.isEmpty ? .note : .good, text: text,
            remedy: free.isEmpty || !shared.isEmpty
                ? "drover devices tells the reasons; a group is shared where no ACS separates its slots: try another slot, or the firmware's ACS switch"
                : nil)
    }

    private func vfio(_ bad: Finding.State) -> Finding {
        let manager = FileManager.default
        if manager.fileExists(atPath: "/sys/bus/pci/drivers/vfio-pci") { return Finding(subject: "vfio-pci", state: .good, text: "loaded") }
        let folder = "/lib/modules/" + read("/proc/sys/kernel/osrelease").trimmingCharacters(in: .whitespacesAndNewlines)
        let listed = (read(folder + "/modules.dep") + read(folder + "/modules.builtin")).contains("/vfio-pci.ko")
        return listed
            ? Finding(subject: "vfio-pci", state: .good, text: "is loaded when a device is taken")
            : Finding(
                subject: "vfio-pci", state: bad, text: "this kernel has no such module (\(folder)); it is what gives a device to a VM",
                remedy: "apt-get install linux-image-amd64, and reboot into it")
    }

    private func unsafeInterrupts() -> Finding? {
        guard read("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts").hasPrefix("Y") else { return nil }
        return Finding(
            subject: "allow_unsafe_interrupts", state: .note,
            text: "somebody has set it: other users of VFIO may pass devices through that can forge interrupts; Drover doesn't",
            remedy: "echo N > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts, and take it out of /etc/modprobe.d")
    }

    /// The whole memory of a VM with a device is locked. libvirt raises QEMU's limit, which only root may.
    private func lockedMemory(_ bad: Finding.State) -> Finding {
        var limit = rlimit()
        guard getrlimit(__RLIMIT_MEMLOCK, &limit) == 0 else {
            return Finding(subject: "locked memory", state: .note, text: "the limit cannot be read")
        }
        let text = limit.rlim_max == rlim_t.max ? "no limit" : "at most \(Figures.bytes(UInt64(limit.rlim_max)))"
        if geteuid() == 0 || limit.rlim_max == rlim_t.max {
            return Finding(subject: "locked memory", state: .good, text: "\(text); libvirt raises it for a DD/OS with a device")
        }
        return Finding(
            subject: "locked memory", state: bad, text: "\(text), and a DD/OS with a device locks all of its memory",
            remedy: "run drover with sudo")
    }

    private func device(_ address: PCIAddress) -> Finding {
        guard let report = (try? Devices.reports(runDirectory: runDirectory))?.first(where: { $0.address == "\(address)" }) else {
            return Finding(
                subject: "\(address)", state: .missing, text: "\(PCIError.noSuchDevice(address: address))", remedy: "drover devices")
        }
        let good = report.takeable == .yes || report.takeable == .taken
        return Finding(
            subject: report.address, state: good ? .good : .missing, text: "\(report.name): \(report.verdict)",
            remedy: report.objections.compactMap(\.remedy).first)
    }

    private func read(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
