internal import CPCI
internal import Glibc

/// The PCI functions of this machine, as libpci and sysfs tell.
public struct PCIInventory: Sendable {
    /// The directory that holds `devices/` and `drivers/`: `/sys/bus/pci`, or a made-up one in tests.
    public let sysfsPath: String

    public init(sysfsPath: String = "/sys/bus/pci") {
        self.sysfsPath = sysfsPath
    }

    /// Of a machine whose sysfs is below `root`.
    public init(root: MachineRoot) {
        sysfsPath = root.path(of: "sys/bus/pci")
    }

    /// Every function, by address. One that is unplugged meanwhile is left out.
    public func functions() throws(PCIError) -> [PCIFunction] { try functions(inFull: nil) }

    /// Every function, but only of one also what the kernel doesn't tell while its driver is being changed: override, reset methods,
    /// virtual functions. While a driver does not let go, reading one of these waits for it.
    ///
    /// - Parameter wanted: Nil: all of them.
    func functions(inFull wanted: PCIAddress?) throws(PCIError) -> [PCIFunction] {
        let access = try Access(sysfsPath: sysfsPath)
        var found: [PCIFunction] = []
        for index in 0..<access.count {
            if let function = try describe(index, access, inFull: wanted) { found.append(function) }
        }
        return found.sorted { $0.address < $1.address }
    }

    /// The function at an address.
    public func function(at address: PCIAddress) throws(PCIError) -> PCIFunction {
        guard let function = try functions(inFull: address).first(where: { $0.address == address }) else {
            throw .noSuchDevice(address: address)
        }
        return function
    }

    /// The IOMMU group of a function and every function in it, itself among them.
    public func iommuGroup(of address: PCIAddress) throws(PCIError) -> (number: Int, members: [PCIFunction]) {
        let all = try functions()
        guard let function = all.first(where: { $0.address == address }) else { throw .noSuchDevice(address: address) }
        guard let group = function.iommuGroup else { throw .noIOMMU(address: address) }
        return (group, all.filter { $0.iommuGroup == group })
    }

    /// Nil for a function that was there when the bus was listed and is there no more.
    func describe(_ index: Int, _ access: borrowing Access, inFull wanted: PCIAddress? = nil) throws(PCIError) -> PCIFunction? {
        guard let address = try access.address(index) else {
            throw .unavailable(reason: "libpci reports a function at an impossible address")
        }
        let directory = "\(sysfsPath)/devices/\(address)"
        do {
            let function = try describe(address, access.function(index), access, directory, inFull: wanted.map { $0 == address } ?? true)
            // What could be read of one that went away meanwhile is not the truth about anything.
            return isThere(directory) ? function : nil
        } catch {
            if !isThere(directory) { return nil }
            throw error
        }
    }

    private func isThere(_ directory: String) -> Bool { Glibc.access(directory + "/config", F_OK) == 0 }

    private func describe(
        _ address: PCIAddress, _ raw: drover_pci_function, _ access: borrowing Access, _ directory: String, inFull: Bool
    ) throws(PCIError) -> PCIFunction {
        let computed = PCIFunction.modalias(
            vendor: raw.vendor, device: raw.device_id, subsystemVendor: raw.subsystem_vendor,
            subsystemDevice: raw.subsystem_device, classCode: raw.class_code)
        let override = inFull ? try firstLine("\(directory)/driver_override") : nil
        let node = try firstLine("\(directory)/numa_node").flatMap { Int($0) }
        return PCIFunction(
            address: address, vendor: raw.vendor, device: raw.device_id, subsystemVendor: raw.subsystem_vendor,
            subsystemDevice: raw.subsystem_device, classCode: raw.class_code, revision: raw.revision,
            vendorName: access.name { drover_pci_vendor_name($0, raw.vendor, $1, $2) },
            deviceName: access.name { drover_pci_device_name($0, raw.vendor, raw.device_id, $1, $2) },
            className: access.name { drover_pci_class_name($0, raw.class_code, $1, $2) },
            driver: try linkName("\(directory)/driver"),
            // The kernel shows a missing one as its printf does a null pointer.
            driverOverride: override.flatMap { $0.isEmpty || $0 == "(null)" ? nil : $0 },
            modalias: try firstLine("\(directory)/modalias") ?? computed,
            iommuGroup: try linkName("\(directory)/iommu_group").flatMap { Int($0) },
            resetMethods: inFull ? try resetMethods(directory) : [],
            bars: PCIBar.all(resource: try wholeText("\(directory)/resource") ?? ""),
            numaNode: node.flatMap { $0 < 0 ? nil : $0 },
            physicalFunction: try linkName("\(directory)/physfn").flatMap { PCIAddress($0) },
            virtualFunctions: inFull ? try virtualFunctions(directory) : [],
            isBootDisplay: try firstLine("\(directory)/boot_vga") == "1")
    }

    private func resetMethods(_ directory: String) throws(PCIError) -> [String] {
        if let methods = try firstLine("\(directory)/reset_method") { return methods.split(separator: " ").map(String.init) }
        // Before Linux 5.15 there is only a file that exists when some method does.
        return access("\(directory)/reset", F_OK) == 0 ? ["default"] : []
    }

    private func virtualFunctions(_ directory: String) throws(PCIError) -> [PCIAddress] {
        guard let enabled = try firstLine("\(directory)/sriov_numvfs").flatMap({ Int($0) }), enabled > 0 else { return [] }
        var found: [PCIAddress] = []
        for index in 0..<min(enabled, 65_536) {
            if let address = try linkName("\(directory)/virtfn\(index)").flatMap({ PCIAddress($0) }) { found.append(address) }
        }
        return found
    }
}
