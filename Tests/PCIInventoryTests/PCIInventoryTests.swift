import Foundation
import PCIInventory
import Testing

/// A made-up /sys/bus/pci.
private final class FakeBus {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("drover-pci-\(UUID().uuidString)").path

    init() throws {
        try FileManager.default.createDirectory(atPath: "\(path)/devices", withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: "\(path)/drivers/nvme", withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: "\(path)/groups/7", withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func add(
        _ address: String, vendor: UInt16, device: UInt16, classCode: UInt32, driver: String? = nil, group: String? = nil,
        modalias: String? = nil
    ) throws {
        let directory = "\(path)/devices/\(address)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var files = [
            "vendor": hex(vendor), "device": hex(device), "class": "0x" + padded(UInt32(classCode), 6), "revision": "0x02",
            "subsystem_vendor": "0x1af4", "subsystem_device": "0x1100", "irq": "11",
            "resource": String(repeating: "0x0000000000000000 0x0000000000000000 0x0000000000000000\n", count: 7),
        ]
        files["modalias"] = modalias
        for (name, content) in files { try Data((content + "\n").utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)")) }
        var config = [UInt8](repeating: 0, count: 64)
        config.replaceSubrange(
            0..<12,
            with: [
                UInt8(vendor & 0xff), UInt8(vendor >> 8), UInt8(device & 0xff), UInt8(device >> 8), 0, 0, 0, 0, 2,
                UInt8(classCode & 0xff), UInt8(classCode >> 8 & 0xff), UInt8(classCode >> 16),
            ])
        config.replaceSubrange(44..<48, with: [0xf4, 0x1a, 0x00, 0x11])
        try Data(config).write(to: URL(fileURLWithPath: "\(directory)/config"))
        if let driver {
            try FileManager.default.createSymbolicLink(atPath: "\(directory)/driver", withDestinationPath: "../../drivers/\(driver)")
        }
        if let group {
            try FileManager.default.createSymbolicLink(
                atPath: "\(directory)/iommu_group", withDestinationPath: "../../groups/\(group)")
        }
    }

    private func hex(_ value: UInt16) -> String { "0x" + padded(UInt32(value), 4) }

    private func padded(_ value: UInt32, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }
}

@Suite struct PCIInventoryTests {
    @Test func aFunctionHasItsIdsDriverModaliasAndGroup() throws {
        let bus = try FakeBus()
        try bus.add("0000:01:00.0", vendor: 0x8086, device: 0x5845, classCode: 0x010802, driver: "nvme", group: "7")
        let function = try #require(try PCIInventory(sysfsPath: bus.path).functions().first)
        #expect(function.address == PCIAddress("0000:01:00.0"))
        #expect(function.vendor == 0x8086)
        #expect(function.device == 0x5845)
        #expect(function.subsystemVendor == 0x1af4)
        #expect(function.subsystemDevice == 0x1100)
        #expect(function.classCode == 0x010802)
        #expect(function.revision == 2)
        #expect(function.driver == "nvme")
        #expect(function.iommuGroup == 7)
        #expect(function.vendorName == "Intel Corporation")
        #expect(function.className == "Non-Volatile memory controller")
        #expect(function.modalias == "pci:v00008086d00005845sv00001AF4sd00001100bc01sc08i02")
    }

    @Test func whatPciIdsDoesNotKnowHasNoName() throws {
        let bus = try FakeBus()
        try bus.add("0000:00:03.0", vendor: 0x7f7e, device: 0x0001, classCode: 0x010000)
        let function = try #require(try PCIInventory(sysfsPath: bus.path).functions().first)
        #expect(function.vendorName == nil)
        #expect(function.deviceName == nil)
        #expect(function.driver == nil)
        #expect(function.iommuGroup == nil)
    }

    @Test func theKernelsOwnModaliasIsPreferred() throws {
        let bus = try FakeBus()
        try bus.add("0000:00:03.0", vendor: 0x1000, device: 0x0012, classCode: 0x010000, modalias: "pci:from-the-kernel")
        #expect(try PCIInventory(sysfsPath: bus.path).functions().first?.modalias == "pci:from-the-kernel")
    }

    @Test func functionsComeInTheOrderOfTheirAddresses() throws {
        let bus = try FakeBus()
        for address in ["0000:02:00.0", "0000:00:1f.2", "0000:00:03.0"] {
            try bus.add(address, vendor: 0x8086, device: 1, classCode: 0x010601)
        }
        let addresses = try PCIInventory(sysfsPath: bus.path).functions().map(\.address.description)
        #expect(addresses == ["0000:00:03.0", "0000:00:1f.2", "0000:02:00.0"])
    }

    @Test func aGroupHasAllItsMembers() throws {
        let bus = try FakeBus()
        try bus.add("0000:01:00.0", vendor: 1, device: 1, classCode: 0x010802, group: "7")
        try bus.add("0000:01:00.1", vendor: 1, device: 2, classCode: 0x010802, group: "7")
        try bus.add("0000:02:00.0", vendor: 1, device: 3, classCode: 0x010802, group: "8")
        let inventory = PCIInventory(sysfsPath: bus.path)
        let group = try inventory.iommuGroup(of: try #require(PCIAddress("01:00.1")))
        #expect(group.number == 7)
        #expect(group.members.map(\.address.description) == ["0000:01:00.0", "0000:01:00.1"])
    }

    @Test func aFunctionWithoutAGroupSaysThatThereIsNoIOMMU() throws {
        let bus = try FakeBus()
        try bus.add("0000:01:00.0", vendor: 1, device: 1, classCode: 0x010802)
        let address = try #require(PCIAddress("01:00.0"))
        #expect(throws: PCIError.noIOMMU(address: address)) { try PCIInventory(sysfsPath: bus.path).iommuGroup(of: address) }
    }

    @Test func anAddressWithoutADeviceIsAnError() throws {
        let bus = try FakeBus()
        let address = try #require(PCIAddress("05:00.0"))
        #expect(throws: PCIError.noSuchDevice(address: address)) { try PCIInventory(sysfsPath: bus.path).function(at: address) }
    }

    @Test func aMachineWithoutPCIIsAnErrorAndNotTheEndOfTheProcess() {
        #expect(throws: PCIError.self) { try PCIInventory(sysfsPath: "/nonexistent").functions() }
    }

    @Test func libpcisFatalErrorsBecomeErrors() throws {
        let bus = try FakeBus()
        // libpci calls its error handler, which must not return, for a name that isn't an address.
        try FileManager.default.createDirectory(atPath: "\(bus.path)/devices/nonsense", withIntermediateDirectories: true)
        #expect(throws: PCIError.self) { try PCIInventory(sysfsPath: bus.path).functions() }
    }

    @Test(arguments: ["0000:01:00.0", "ffff:ff:1f.7", "10000:e1:00.0"])
    func addressesAreReadAndWritten(_ text: String) throws {
        #expect(try #require(PCIAddress(text)).description == text)
    }

    @Test(arguments: ["", "1", "0000:01:00", "01:20.0", "01:00.8", "01:0.0", "0000:001:00.0", "+0:00.0", "gg:00.0", "0:0:0:00.0"])
    func nonsenseIsNoAddress(_ text: String) {
        #expect(PCIAddress(text) == nil)
    }
}
