/// A PCI function of this machine.
public struct PCIFunction: Sendable, Equatable, Codable {
    public var address: PCIAddress
    public var vendor: UInt16
    public var device: UInt16
    public var subsystemVendor: UInt16
    public var subsystemDevice: UInt16
    /// Base class, subclass and programming interface: `0x010802` is an NVMe controller.
    public var classCode: UInt32
    public var revision: UInt8
    /// From pci.ids; nil for what it doesn't name.
    public var vendorName: String?
    public var deviceName: String?
    public var className: String?
    /// The host's driver that has the function now, for instance `nvme` or `vfio-pci`.
    public var driver: String?
    /// What `modules.alias` is matched against.
    public var modalias: String
    /// nil without an IOMMU.
    public var iommuGroup: Int?
}

extension PCIFunction {
    /// The modalias that the kernel gives a function with these ids (`pci_uevent` in drivers/pci/pci-driver.c).
    public static func modalias(
        vendor: UInt16, device: UInt16, subsystemVendor: UInt16, subsystemDevice: UInt16, classCode: UInt32
    ) -> String {
        func hex(_ value: some BinaryInteger, _ digits: Int) -> String { padded(value, digits, uppercase: true) }
        return "pci:v\(hex(vendor, 8))d\(hex(device, 8))sv\(hex(subsystemVendor, 8))sd\(hex(subsystemDevice, 8))"
            + "bc\(hex(classCode >> 16 & 0xff, 2))sc\(hex(classCode >> 8 & 0xff, 2))i\(hex(classCode & 0xff, 2))"
    }
}
