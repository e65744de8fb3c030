@testable import PCIInventory
import Foundation
import Testing

@Suite struct PCIInventoryTests {
    @Test func aFunctionHasItsIdsDriverModaliasAndGroup() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", vendor: 0x8086, device: 0x5845, classCode: 0x010802, driver: "nvme", group: 7)
        let function = try #require(try machine.inventory.functions().first)
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
        let machine = try FakeMachine()
        try machine.add("0000:00:03.0", vendor: 0x7f7e, device: 0x0001, classCode: 0x010000)
        let function = try #require(try machine.inventory.functions().first)
        #expect(function.vendorName == nil)
        #expect(function.deviceName == nil)
        #expect(function.driver == nil)
        #expect(function.iommuGroup == nil)
    }

    @Test func theKernelsOwnModaliasIsPreferred() throws {
        let machine = try FakeMachine()
        try machine.add("0000:00:03.0", vendor: 0x1000, device: 0x0012, classCode: 0x010000, modalias: "pci:from-the-kernel")
        #expect(try machine.inventory.functions().first?.modalias == "pci:from-the-kernel")
    }

    @Test func functionsComeInTheOrderOfTheirAddresses() throws {
        let machine = try FakeMachine()
        for address in ["0000:02:00.0", "0000:00:1f.2", "0000:00:03.0"] {
            try machine.add(address, vendor: 0x8086, device: 1, classCode: 0x010601)
        }
        let addresses = try machine.inventory.functions().map(\.address.description)
        #expect(addresses == ["0000:00:03.0", "0000:00:1f.2", "0000:02:00.0"])
    }

    @Test func aGroupHasAllItsMembers() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", vendor: 1, device: 1, classCode: 0x010802, group: 7)
        try machine.add("0000:01:00.1", vendor: 1, device: 2, classCode: 0x010802, group: 7)
        try machine.add("0000:02:00.0", vendor: 1, device: 3, classCode: 0x010802, group: 8)
        let inventory = machine.inventory
        let group = try inventory.iommuGroup(of: try #require(PCIAddress("01:00.1")))
        #expect(group.number == 7)
        #expect(group.members.map(\.address.description) == ["0000:01:00.0", "0000:01:00.1"])
    }

    @Test func aFunctionWithoutAGroupSaysThatThereIsNoIOMMU() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", vendor: 1, device: 1, classCode: 0x010802)
        let address = try #require(PCIAddress("01:00.0"))
        #expect(throws: PCIError.noIOMMU(address: address)) { try machine.inventory.iommuGroup(of: address) }
    }

    @Test func anAddressWithoutADeviceIsAnError() throws {
        let machine = try FakeMachine()
        let address = try #require(PCIAddress("05:00.0"))
        #expect(throws: PCIError.noSuchDevice(address: address)) { try machine.inventory.function(at: address) }
    }

    @Test func aMachineWithoutPCIIsAnErrorAndNotTheEndOfTheProcess() {
        #expect(throws: PCIError.self) { try PCIInventory(sysfsPath: "/nonexistent").functions() }
    }

    @Test func libpcisFatalErrorsBecomeErrors() throws {
        let machine = try FakeMachine()
        // libpci calls its error handler, which must not return, for a name that isn't an address.
        try FileManager.default.createDirectory(atPath: "\(machine.bus)/devices/nonsense", withIntermediateDirectories: true)
        #expect(throws: PCIError.self) { try machine.inventory.functions() }
    }

    @Test func barsResetMethodsAndNodeAreAsSysfsTells() throws {
        let machine = try FakeMachine()
        try machine.add(
            "0000:01:00.0", reset: "flr bus", numaNode: 1,
            resource: [
                "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204", "0x0000000000000000 0x0000000000000000 0x0000000000000000",
                "0x000000000000c000 0x000000000000c01f 0x0000000000040101", "0x00000000d0000000 0x00000000dfffffff 0x000000000014220c",
            ])
        let function = try #require(try machine.inventory.functions().first)
        #expect(function.resetMethods == ["flr", "bus"])
        #expect(function.numaNode == 1)
        #expect(function.bars.map(\.index) == [0, 2, 3])
        #expect(function.bars.map(\.kind) == [.memory, .ports, .prefetchable])
        #expect(function.bars.map(\.size) == [16_384, 32, 256 << 20])
    }

    @Test func garbageInAResourceFileIsNoBar() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", resource: ["0x10 0x0 0x200", "x y z", "0x0 0xffffffffffffffff 0x200", "0x1 0x2"])
        #expect(try machine.inventory.functions().first?.bars == [])
    }

    @Test func virtualFunctionsAndTheirPhysicalFunctionKnowEachOther() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try machine.add("0000:01:00.1", group: 8)
        let place = "sys/bus/pci/devices"
        try machine.write("1\n", to: "\(place)/0000:01:00.0/sriov_numvfs")
        try machine.link("\(place)/0000:01:00.0/virtfn0", to: "../0000:01:00.1")
        try machine.link("\(place)/0000:01:00.1/physfn", to: "../0000:01:00.0")
        let functions = try machine.inventory.functions()
        #expect(functions[0].virtualFunctions == [functions[1].address])
        #expect(functions[1].physicalFunction == functions[0].address)
    }

    @Test func aFunctionUnpluggedBeforeTheScanReachesItIsLeftOut() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0")
        try machine.add("0000:02:00.0")
        // What readdir still shows of one that has gone: a name without files.
        try machine.link("sys/bus/pci/devices/0000:03:00.0", to: "../gone")
        #expect(try machine.inventory.functions().map(\.address.description) == ["0000:01:00.0", "0000:02:00.0"])
    }

    @Test func aFunctionUnpluggedInMidScanIsLeftOut() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0")
        try machine.add("0000:02:00.0")
        let access = try Access(sysfsPath: machine.bus)
        try machine.remove("sys/bus/pci/devices/0000:01:00.0")
        var left: [String] = []
        for index in 0..<access.count {
            if let function = try machine.inventory.describe(index, access) { left.append("\(function.address)") }
        }
        #expect(left == ["0000:02:00.0"])
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
