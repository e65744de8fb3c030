/// Why a DD/OS cannot take a function, or not without being told twice.
public enum Obstacle: Sendable, Equatable, Codable {
    case bridge
    /// No IOMMU, or one that doesn't remap interrupts.
    case noIsolation(reason: String, remedy: String)
    /// There is an IOMMU, and this function is not behind it.
    case noGroup
    /// Others of its IOMMU group have drivers of the host's: they could reach what the DD/OS's device reaches.
    case sharedGroup(number: Int, others: [String])
    case noReset
    /// Its physical function's driver makes these; they would vanish.
    case virtualFunctions([PCIAddress])
    /// Bound to a driver that gives devices to virtual machines, and not by this supervisor.
    case held(driver: String)
    case inUse([HostUse])

    /// One sentence without its full stop, "it" being the function.
    public var reason: String {
        switch self {
        case .bridge: "it is a bridge"
        case .noIsolation(let reason, _): reason
        case .noGroup: "it is in no IOMMU group, so its DMA could reach all of memory"
        case .sharedGroup(let number, let others):
            "its IOMMU group \(number) is shared with \(others.joined(separator: ", ")), in use by the host"
        case .noReset: "the kernel knows no way to reset it, so one DD/OS's life could leave it in a state that breaks the next"
        case .virtualFunctions(let functions): "\(functions.count) of its SR-IOV virtual functions are enabled, and would vanish"
        case .held(let driver): "\(driver) has it: another supervisor, libvirt or a virtual machine took it"
        case .inUse(let uses): "the host is using it: \(uses.map(\.text).joined(separator: ", "))"
        }
    }

    /// What would help; nil where nothing does.
    public var remedy: String? {
        switch self {
        case .bridge: nil
        case .noIsolation(_, let remedy): remedy
        case .noGroup:
            "put it into another slot; switch Intel's VMD off in the firmware's setup, if it is behind that; "
                + "take options that leave devices out (intel_iommu=igfx_off) out of the kernel's command line"
        case .sharedGroup:
            "unbind the others' drivers, or put the device into a slot below a root port of its own (one with ACS; the firmware may have a switch for it)"
        case .noReset: nil
        case .virtualFunctions: "write 0 to its sriov_numvfs, or give DD/OSs its virtual functions instead"
        case .held: "stop who has it, then run 'drover release' with its address"
        case .inUse(let uses): uses.map(\.remedy).uniqued().joined(separator: "; ")
        }
    }

    /// `--force` overrides it: what breaks is the host's own.
    public var yieldsToForce: Bool {
        if case .inUse = self { true } else { false }
    }
}

extension Obstacle {
    /// Drivers that leave a device alone, for others to use.
    static let passiveDrivers: Set<String> = ["vfio-pci", "pci-stub"]

    /// Everything in the way of one function, the gravest first.
    ///
    /// - Parameters:
    ///   - all: Every function of the machine.
    ///   - taken: What the supervisor that asks has taken already: no obstacle, unless a driver of the host's has it all the same.
    public static func of(
        _ function: PCIFunction, among all: [PCIFunction], iommu: IOMMUState, taken: Set<PCIAddress> = [], root: MachineRoot = MachineRoot()
    ) -> [Obstacle] {
        if function.isBridge { return [.bridge] }
        var found: [Obstacle] = []
        if let objection = iommu.objection { found.append(.noIsolation(reason: objection.reason, remedy: objection.remedy)) }
        if iommu.isOn, !iommu.covers(function) { found.append(.noGroup) }
        if let shared = sharedGroup(of: function, among: all, taken: taken) { found.append(shared) }
        if function.resetMethods.isEmpty { found.append(.noReset) }
        if !function.virtualFunctions.isEmpty { found.append(.virtualFunctions(function.virtualFunctions)) }
        // What the journal has is no news, as long as it is true: with a driver of the host's, the host may be using it again.
        if taken.contains(function.address), function.driver == nil || function.driver == DeviceTaking.driver { return found }
        // Bound at start-up by vfio-pci.ids, with no override, it waits for anybody.
        if let driver = function.driver, passiveDrivers.contains(driver), function.driverOverride == driver {
            found.append(.held(driver: driver))
        }
        let uses = HostUse.find(function, root: root)
        if !uses.isEmpty { found.append(.inUse(uses)) }
        return found
    }

    static func sharedGroup(of function: PCIFunction, among all: [PCIFunction], taken: Set<PCIAddress>) -> Obstacle? {
        guard let group = function.iommuGroup else { return nil }
        // A bridge of the group with the kernel's port driver is no danger to the group (vfio allows it as well), and a function without
        // a driver is kept without one by the kernel for as long as the group belongs to a VM. But what another DD/OS has is in use.
        let others = all.filter {
            $0.iommuGroup == group && $0.address != function.address
                && ($0.driver.map { $0 != "pcieport" } ?? false || taken.contains($0.address))
        }
        return others.isEmpty ? nil : .sharedGroup(number: group, others: others.map(\.label))
    }
}
