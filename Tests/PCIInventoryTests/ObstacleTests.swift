import Foundation
import PCIInventory
import Testing

@Suite struct ObstacleTests {
    private func obstacles(_ machine: FakeMachine, _ address: String, taken: [String] = []) throws -> [Obstacle] {
        let all = try machine.inventory.functions()
        let function = try #require(all.first { $0.address.description == address })
        return Obstacle.of(
            function, among: all, iommu: IOMMUState.read(root: machine.root), taken: Set(taken.compactMap { PCIAddress($0) }),
            root: machine.root)
    }

    @Test func aDeviceInAGroupOfItsOwnCanBeTaken() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try machine.add("0000:02:00.0", driver: "e1000e", group: 8)
        #expect(try obstacles(machine, "0000:01:00.0") == [])
    }

    @Test func aBridgeIsNoDevice() throws {
        let machine = try FakeMachine()
        try machine.add("0000:00:04.0", classCode: 0x060400, driver: "pcieport", group: 3)
        #expect(try obstacles(machine, "0000:00:04.0") == [.bridge])
    }

    @Test func aSharedGroupNamesTheOthers() throws {
        let machine = try FakeMachine()
        try machine.add("0000:03:00.0", driver: "nvme", group: 10)
        try machine.add("0000:03:00.1", classCode: 0x020000, driver: "e1000e", group: 10)
        let obstacle = try #require(try obstacles(machine, "0000:03:00.0").first)
        #expect(obstacle == .sharedGroup(number: 10, others: ["0000:03:00.1 (e1000e)"]))
        #expect(obstacle.reason.contains("0000:03:00.1 (e1000e)"))
        #expect(!obstacle.yieldsToForce)
    }

    @Test func aBridgeAndFunctionsWithoutDriversDoNotSpoilAGroup() throws {
        let machine = try FakeMachine()
        try machine.add("0000:00:04.0", classCode: 0x060400, driver: "pcieport", group: 10)
        try machine.add("0000:03:00.0", driver: "nvme", group: 10)
        try machine.add("0000:03:00.1", group: 10)
        #expect(try obstacles(machine, "0000:03:00.0") == [])
    }

    @Test func aGroupOfWhichAnotherDDOSHasAFunctionIsShared() throws {
        let machine = try FakeMachine()
        try machine.add("0000:03:00.0", driver: "nvme", group: 10)
        try machine.add("0000:03:00.1", driver: "vfio-pci", group: 10)
        let found = try obstacles(machine, "0000:03:00.0", taken: ["0000:03:00.1"])
        #expect(found == [.sharedGroup(number: 10, others: ["0000:03:00.1 (vfio-pci)"])])
    }

    @Test func aVirtualFunctionIsADeviceLikeAnyOther() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try machine.add("0000:01:00.1", group: 8)
        try machine.write("1\n", to: "sys/bus/pci/devices/0000:01:00.0/sriov_numvfs")
        try machine.link("sys/bus/pci/devices/0000:01:00.0/virtfn0", to: "../0000:01:00.1")
        try machine.link("sys/bus/pci/devices/0000:01:00.1/physfn", to: "../0000:01:00.0")
        #expect(try obstacles(machine, "0000:01:00.1") == [])
        let vf = try #require(PCIAddress("01:00.1"))
        #expect(try obstacles(machine, "0000:01:00.0") == [.virtualFunctions([vf])])
    }

    @Test func withoutAResetThereIsNoNextLife() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", group: 7, reset: "")
        #expect(try obstacles(machine, "0000:01:00.0") == [.noReset])
    }

    @Test func withoutAnIOMMUTheKernelParameterIsNamed() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme")
        try machine.remove("sys/kernel/iommu_groups/0")
        try machine.write("root=/dev/sda1\n", to: "proc/cmdline")
        let remedy = try #require(try obstacles(machine, "0000:01:00.0").first?.remedy)
        #expect(remedy.contains("intel_iommu=on"))
    }

    @Test func aDeviceInNoGroupIsNotTaken() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme")
        let obstacle = try #require(try obstacles(machine, "0000:01:00.0").first)
        #expect(obstacle.reason.hasPrefix("it is in no IOMMU group"))
        #expect(obstacle.remedy != nil)
        #expect(!obstacle.yieldsToForce)
    }

    /// vfio's unsafe mode makes groups for devices that no IOMMU confines.
    @Test func aGroupWithoutAnIOMMUIsNone() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try machine.write("vfio-noiommu\n", to: "sys/kernel/iommu_groups/7/name")
        #expect(IOMMUState.read(root: machine.root).isOn)
        #expect(try obstacles(machine, "0000:01:00.0") == [.noGroup])
        try machine.remove("sys/kernel/iommu_groups/0")
        #expect(!IOMMUState.read(root: machine.root).isOn)
        guard case .noIsolation = try obstacles(machine, "0000:01:00.0").first else {
            Issue.record("taken for isolated")
            return
        }
    }

    @Test(arguments: [
        ("DMAR", "AuthenticAMD", "quiet", "intel_iommu=on"), ("IVRS", "AuthenticAMD", "quiet", "amd_iommu"),
        ("SSDT", "GenuineIntel", "quiet", "VT-d"), ("SSDT", "AuthenticAMD", "quiet", "AMD-Vi"),
        ("IVRS", "AuthenticAMD", "amd_iommu=off", "replace amd_iommu=off by iommu=pt"),
        ("DMAR", "GenuineIntel", "intel_iommu=off", "replace intel_iommu=off by intel_iommu=on"),
        ("VIOT", "GenuineIntel", "quiet", "virtio_iommu"),
    ])
    func howToSwitchTheIOMMUOnDependsOnTheMachine(_ table: String, _ vendor: String, _ parameters: String, _ expected: String) throws {
        let machine = try FakeMachine()
        try machine.remove("sys/kernel/iommu_groups/0")
        try machine.remove("sys/firmware/acpi/tables/DMAR")
        try machine.write("", to: "sys/firmware/acpi/tables/\(table)")
        try machine.write("vendor_id\t: \(vendor)\n", to: "proc/cpuinfo")
        try machine.write("\(parameters)\n", to: "proc/cmdline")
        #expect(try #require(IOMMUState.read(root: machine.root).objection).remedy.contains(expected))
    }

    @Test func withoutInterruptRemappingTheRiskIsNamed() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try machine.write("  1:   10   IO-APIC   1-edge   i8042\n", to: "proc/interrupts")
        let obstacle = try #require(try obstacles(machine, "0000:01:00.0").first)
        #expect(obstacle.reason.contains("raise any interrupt of the host"))
        #expect(!obstacle.yieldsToForce)
    }

    @Test func whatSomebodyElseTookIsHeld() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "vfio-pci", group: 7)
        #expect(try obstacles(machine, "0000:01:00.0") == [])
        try machine.write("vfio-pci\n", to: "sys/bus/pci/devices/0000:01:00.0/driver_override")
        #expect(try obstacles(machine, "0000:01:00.0") == [.held(driver: "vfio-pci")])
        #expect(try obstacles(machine, "0000:01:00.0", taken: ["0000:01:00.0"]) == [])
    }

    /// The journal says that it is taken, and the host's driver has it.
    @Test func whatTheHostUsesIsInUseWhateverTheJournalSays() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", classCode: 0x020000, driver: "e1000e", group: 7)
        try machine.folder("sys/bus/pci/devices/0000:01:00.0/net/eth0")
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        try machine.write(header + "eth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n", to: "proc/net/route")
        #expect(try obstacles(machine, "0000:01:00.0", taken: ["0000:01:00.0"]) == [.inUse([.defaultRoute(interface: "eth0")])])
    }
}
