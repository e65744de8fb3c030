internal import CPCI
internal import Glibc

/// The PCI functions of this machine, as libpci and sysfs tell.
public struct PCIInventory: Sendable {
    /// The directory that holds `devices/` and `drivers/`: `/sys/bus/pci`, or a made-up one in tests.
    public let sysfsPath: String

    public init(sysfsPath: String = "/sys/bus/pci") {
        self.sysfsPath = sysfsPath
    }

    /// Every function, by address.
    public func functions() throws(PCIError) -> [PCIFunction] {
        let access = try Access(sysfsPath: sysfsPath)
        var found: [PCIFunction] = []
        for index in 0..<access.count {
            found.append(try describe(access.function(index), access))
        }
        return found.sorted { $0.address < $1.address }
    }

    /// The function at an address.
    public func function(at address: PCIAddress) throws(PCIError) -> PCIFunction {
        guard let function = try functions().first(where: { $0.address == address }) else {
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

    private func describe(_ raw: drover_pci_function, _ access: borrowing Access) throws(PCIError) -> PCIFunction {
        guard
            let address = PCIAddress(domain: raw.domain, bus: raw.bus, device: raw.device, function: raw.function)
        else { throw .unavailable(reason: "libpci reports a function at an impossible address") }
        let directory = "\(sysfsPath)/devices/\(address)"
        let computed = PCIFunction.modalias(
            vendor: raw.vendor, device: raw.device_id, subsystemVendor: raw.subsystem_vendor,
            subsystemDevice: raw.subsystem_device, classCode: raw.class_code)
        return PCIFunction(
            address: address, vendor: raw.vendor, device: raw.device_id, subsystemVendor: raw.subsystem_vendor,
            subsystemDevice: raw.subsystem_device, classCode: raw.class_code, revision: raw.revision,
            vendorName: access.name { drover_pci_vendor_name($0, raw.vendor, $1, $2) },
            deviceName: access.name { drover_pci_device_name($0, raw.vendor, raw.device_id, $1, $2) },
            className: access.name { drover_pci_class_name($0, raw.class_code, $1, $2) },
            driver: try linkName("\(directory)/driver"),
            modalias: try firstLine("\(directory)/modalias") ?? computed,
            iommuGroup: try linkName("\(directory)/iommu_group").flatMap { Int($0) })
    }
}
