/// What this machine's IOMMU does for passthrough.
public struct IOMMUState: Sendable, Equatable, Codable {
    /// It translates: devices are in groups.
    public var isOn: Bool
    /// Groups that only group: vfio makes them for devices without an IOMMU, when its unsafe mode is on. What is in one is in none.
    public var unprotectedGroups: Set<Int>
    /// Of `/sys/class/iommu`: `dmar0`, `ivhd0`, …
    public var units: [String]
    /// A device's interrupts go through a table of the host's: a guest can't forge one.
    public var remapsInterrupts: Bool
    /// The ACPI table with which the firmware tells of an IOMMU: `DMAR` (Intel VT-d), `IVRS` (AMD-Vi), `VIOT` (virtio). Nil: none, or the
    /// tables can't be read.
    public var firmwareTable: String?
    /// `GenuineIntel`, `AuthenticAMD`; nil if unknown.
    public var processorVendor: String?
    /// The kernel's own, where it says something of IOMMUs: `intel_iommu=off`, `iommu=pt`, …
    public var kernelParameters: [String]

    public init(
        isOn: Bool, units: [String], remapsInterrupts: Bool, firmwareTable: String? = nil, processorVendor: String? = nil,
        kernelParameters: [String] = [], unprotectedGroups: Set<Int> = []
    ) {
        self.isOn = isOn
        self.units = units
        self.remapsInterrupts = remapsInterrupts
        self.firmwareTable = firmwareTable
        self.processorVendor = processorVendor
        self.kernelParameters = kernelParameters
        self.unprotectedGroups = unprotectedGroups
    }

    public static func read(root: MachineRoot = MachineRoot()) -> IOMMUState {
        let tables = root.names(in: "sys/firmware/acpi/tables")
        let vendor = root.text("proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("vendor_id") }?
            .split(separator: ":").last?.split(separator: " ").first
        let parameters = (root.text("proc/cmdline") ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
        let groups = root.names(in: "sys/kernel/iommu_groups")
        let unprotected = groups.filter { root.text("sys/kernel/iommu_groups/\($0)/name")?.hasPrefix("vfio-noiommu") ?? false }
        return IOMMUState(
            isOn: groups.count > unprotected.count,
            units: root.names(in: "sys/class/iommu"),
            // The kernel has no attribute for it. It names the interrupt chips that sit behind a remapping unit IR-IO-APIC, IR-PCI-MSI, …
            remapsInterrupts: (root.text("proc/interrupts") ?? "").contains(" IR-"),
            firmwareTable: ["DMAR", "IVRS", "VIOT"].first(where: tables.contains),
            processorVendor: vendor.map(String.init),
            kernelParameters: parameters.filter { $0.contains("iommu") || $0.hasPrefix("intremap=") },
            unprotectedGroups: Set(unprotected.compactMap { Int($0) }))
    }

    /// Whether it stands between this function and the memory.
    func covers(_ function: PCIFunction) -> Bool { isOn && function.iommuGroup.map { !unprotectedGroups.contains($0) } ?? false }

    /// Why no device can be passed through, and what mends it; nil when the IOMMU is on and remaps interrupts.
    public var objection: (reason: String, remedy: String)? {
        if !isOn {
            return (reason: "this machine's IOMMU is missing or off, so a device's DMA could reach all of memory", remedy: howToSwitchOn)
        }
        if !remapsInterrupts {
            return (
                reason:
                    "the IOMMU doesn't remap interrupts, so a DD/OS could make its device raise any interrupt of the host and take the host over",
                remedy: howToRemap
            )
        }
        return nil
    }

    private var isIntel: Bool { firmwareTable == "DMAR" || firmwareTable == nil && processorVendor != "AuthenticAMD" }

    private var howToSwitchOn: String {
        let add = "to GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub, and reboot"
        let off = kernelParameters.filter { ["iommu=off", "intel_iommu=off", "amd_iommu=off"].contains($0) }
        if !off.isEmpty {
            let on = firmwareTable == "DMAR" ? "intel_iommu=on iommu=pt" : "iommu=pt"
            return "in /etc/default/grub, replace \(off.joined(separator: " ")) by \(on), run update-grub, and reboot"
        }
        switch firmwareTable {
        case "DMAR": return "add intel_iommu=on iommu=pt \(add)"
        case "IVRS": return "add amd_iommu=force_enable iommu=pt \(add)"
        case "VIOT": return "load the module virtio_iommu: modprobe virtio_iommu"
        default:
            return isIntel
                ? "switch on VT-d in the firmware's setup, then add intel_iommu=on iommu=pt \(add)"
                : "switch on the IOMMU (AMD-Vi) in the firmware's setup, then add iommu=pt \(add)"
        }
    }

    private var howToRemap: String {
        let off = kernelParameters.filter { ["intremap=off", "nointremap"].contains($0) }
        if !off.isEmpty {
            return "take \(off.joined(separator: " ")) out of GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub, and reboot"
        }
        return
            "switch on interrupt remapping (and x2APIC) in the firmware's setup; without it Drover takes no device, and doesn't set allow_unsafe_interrupts"
    }
}
