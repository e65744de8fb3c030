import Foundation
import Testing

@testable import PCIInventory

/// What of the host's would break.
@Suite struct HostUseTests {
    private let nvme = "sys/bus/pci/devices/0000:01:00.0"

    private func machine() throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        for (path, number) in [("nvme0n1", "259:0"), ("nvme0n1/nvme0n1p1", "259:1")] {
            let place = "\(nvme)/nvme/nvme0/\(path)"
            try machine.write("1024\n", to: "\(place)/size")
            try machine.write("\(number)\n", to: "\(place)/dev")
        }
        try machine.write("1\n", to: "\(nvme)/nvme/nvme0/nvme0n1/nvme0n1p1/partition")
        try machine.folder("sys/class/block")
        try machine.link("sys/class/block/nvme0n1", to: "../../bus/pci/devices/0000:01:00.0/nvme/nvme0/nvme0n1")
        try machine.link("sys/class/block/nvme0n1p1", to: "../../bus/pci/devices/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1")
        return machine
    }

    private func uses(_ machine: FakeMachine) throws -> [HostUse] {
        let function = try #require(try machine.inventory.functions().first)
        return HostUse.find(function, root: machine.root)
    }

    @Test func anIdleDiskIsNotInUse() throws {
        #expect(try uses(machine()) == [])
    }

    @Test func aMountedPartitionIsInUse() throws {
        let machine = try machine()
        try machine.write("36 1 259:1 / /mnt/my\\040data rw - ext4 /dev/nvme0n1p1 rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine) == [.mounted(device: "nvme0n1p1", at: "/mnt/my data")])
    }

    @Test func aFileSystemOfManyDisksIsFoundByItsSource() throws {
        let machine = try machine()
        try machine.write("36 1 0:41 / /data rw - btrfs /dev/nvme0n1 rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine) == [.mounted(device: "nvme0n1", at: "/data")])
    }

    @Test func swapIsInUse() throws {
        let machine = try machine()
        try machine.write("Filename Type Size\n/dev/nvme0n1p1 partition 100 0 -2\n", to: "proc/swaps")
        #expect(try uses(machine) == [.swap(device: "nvme0n1p1")])
    }

    @Test func aHolderIsInUseAndHasItsName() throws {
        let machine = try machine()
        try machine.folder("\(nvme)/nvme/nvme0/nvme0n1/nvme0n1p1/holders/dm-0")
        try machine.write("vg-root\n", to: "sys/class/block/dm-0/dm/name")
        #expect(try uses(machine) == [.held(device: "nvme0n1p1", by: "vg-root (dm-0)")])
    }

    @Test func aMultipathDiskIsFoundUnderItsVisibleName() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", driver: "nvme", group: 7)
        try machine.write("1024\n", to: "\(nvme)/nvme/nvme1/nvme0c1n1/size")
        try machine.write("259:0\n", to: "sys/class/block/nvme0n1/dev")
        try machine.write("36 1 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine) == [.mounted(device: "nvme0n1", at: "/data")])
    }

    @Test func aSCSIDiskIsFoundBelowItsController() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", group: 7)
        try machine.write("1024\n", to: "\(nvme)/ata1/host0/target0:0:0/0:0:0:0/block/sda/size")
        try machine.write("8:0\n", to: "sys/class/block/sda/dev")
        try machine.write("36 1 8:0 / / rw - ext4 /dev/sda rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine) == [.mounted(device: "sda", at: "/")])
    }
}
