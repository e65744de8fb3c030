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
    /// The only driver that the kernel lets bind to it (`driver_override`); nil: whichever fits.
    public var driverOverride: String?
    /// What `modules.alias` is matched against.
    public var modalias: String
    /// nil without an IOMMU.
    public var iommuGroup: Int?
    /// How the kernel can reset it, in the order in which it tries: `flr`, `pm`, `bus`, …
    public var resetMethods: [String]
    public var bars: [PCIBar]
    /// nil where the machine has one node, or the firmware doesn't say.
    public var numaNode: Int?
    /// Of an SR-IOV virtual function: the physical function that it belongs to.
    public var physicalFunction: PCIAddress?
    /// Of an SR-IOV physical function: its virtual functions that are enabled.
    public var virtualFunctions: [PCIAddress]
    /// The display that the firmware started on.
    public var isBootDisplay: Bool
}

extension PCIFunction {
    /// A bridge of any kind: base class 6.
    public var isBridge: Bool { classCode >> 16 == 0x06 }

    /// Vendor and device in words, or their numbers as lspci shows them.
    public var name: String {
        let numbers = "[\(padded(vendor, 4)):\(padded(device, 4))]"
        switch (vendorName, deviceName) {
        case (let vendor?, let device?): return "\(vendor) \(device)"
        case (let vendor?, nil): return "\(vendor) \(numbers)"
        default: return numbers
        }
    }

    /// `0000:01:00.0 (nvme)`: address, and the driver in use if any.
    public var label: String { driver.map { "\(address) (\($0))" } ?? "\(address)" }

    /// The modalias that the kernel gives a function with these ids (`pci_uevent` in drivers/pci/pci-driver.c).
    public static func modalias(
        vendor: UInt16, device: UInt16, subsystemVendor: UInt16, subsystemDevice: UInt16, classCode: UInt32
    ) -> String {
        func hex(_ value: some BinaryInteger, _ digits: Int) -> String { padded(value, digits, uppercase: true) }
        return "pci:v\(hex(vendor, 8))d\(hex(device, 8))sv\(hex(subsystemVendor, 8))sd\(hex(subsystemDevice, 8))"
            + "bc\(hex(classCode >> 16 & 0xff, 2))sc\(hex(classCode >> 8 & 0xff, 2))i\(hex(classCode & 0xff, 2))"
    }
}
