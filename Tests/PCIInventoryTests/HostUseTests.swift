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

    /// - Parameter opened: Files in /dev that somebody has opened exclusively.
    private func uses(_ machine: FakeMachine, opened: Set<String> = []) throws -> [HostUse] {
        let function = try #require(try machine.inventory.functions().first)
        return HostUse.find(function, root: machine.root) { opened.contains($0) }
    }

    @Test func anIdleDiskIsNotInUse() throws {
        #expect(try uses(machine()) == [])
    }

    @Test func aMountedPartitionIsInUse() throws {
        let machine = try machine()
        try machine.write("36 1 259:1 / /mnt/my\\040data rw - ext4 /dev/nvme0n1p1 rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine) == [.mounted(device: "nvme0n1p1", at: "/mnt/my data")])
    }

    /// Who has a partition has the whole disk, says the kernel. That is no second use.
    @Test func theDiskOfAMountedPartitionIsNotNamedTwice() throws {
        let machine = try machine()
        try machine.write("36 1 259:1 / /data rw - ext4 /dev/nvme0n1p1 rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine, opened: ["dev/nvme0n1", "dev/nvme0n1p1"]) == [.mounted(device: "nvme0n1p1", at: "/data")])
    }

    @Test func whatIsOpenedExclusivelyIsNamedOnce() throws {
        let machine = try machine()
        #expect(try uses(machine, opened: ["dev/nvme0n1"]) == [.opened(device: "nvme0n1")])
        #expect(try uses(machine, opened: ["dev/nvme0n1", "dev/nvme0n1p1"]) == [.opened(device: "nvme0n1p1")])
    }

    /// As `blkid` does when a disk appears.
    @Test func aProgramThatLooksAtItForAMomentIsNoUse() throws {
        let machine = try machine()
        try machine.write("blkid\n", to: "proc/77/comm")
        try machine.folder("proc/77/fd")
        try machine.link("proc/77/fd/9", to: "/dev/nvme0n1")
        let open = OpenDevices(machine.root) {
            do { try machine.remove("proc/77") } catch { Issue.record(error) }
        }
        #expect(open.uses(node: "nvme0n1", number: "259:0") == [])
        #expect(try uses(machine) == [])
    }

    /// By a number that it has under any name.
    @Test func aProgramThatHasItOpenUnderAnotherNameIsFound() throws {
        let disks = try FileManager.default.contentsOfDirectory(atPath: "/dev").sorted().map { "/dev/\($0)" }
        var found = stat()
        guard let disk = disks.first(where: { stat($0, &found) == 0 && found.st_mode & S_IFMT == S_IFBLK }) else { return }
        let number = found.st_rdev
        let machine = try machine()
        try machine.write("qemu-system-x86\n", to: "proc/77/comm")
        try machine.folder("proc/77/fd")
        try machine.link("proc/77/fd/9", to: disk)
        try machine.write("\(number >> 8 & 0xfff):\(number & 0xff)\n", to: "\(nvme)/nvme/nvme0/nvme0n1/dev")
        #expect(try uses(machine) == [.openedBy(device: "nvme0n1", program: "qemu-system-x86", process: 77)])
    }

    @Test func aProgramThatHasTheDiskOpenIsNamed() throws {
        let machine = try machine()
        for (process, name, target) in [
            (77, "qemu-system-x86", "/dev/nvme0n1"), (78, "systemd-udevd", "/dev/nvme0n1"), (79, "cat", "/dev/null"),
            (80, "postgres", "/dev/nvme0n1p1"),
        ] {
            try machine.write("\(name)\n", to: "proc/\(process)/comm")
            try machine.folder("proc/\(process)/fd")
            try machine.link("proc/\(process)/fd/9", to: target)
        }
        let found = try uses(machine, opened: ["dev/nvme0n1"])
        #expect(
            found == [
                .openedBy(device: "nvme0n1", program: "qemu-system-x86", process: 77),
                .openedBy(device: "nvme0n1p1", program: "postgres", process: 80),
            ])
        #expect(found[0].text == "qemu-system-x86 (process 77) has nvme0n1 open")
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

    @Test func aDiskBehindExpandersIsFound() throws {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", group: 7)
        let expanders = (0..<4).map { "port-0:\($0)/expander-0:\($0)" }.joined(separator: "/")
        let disk = "\(nvme)/host0/\(expanders)/port-0:4:0/end_device-0:4:0/target0:0:0/0:0:0:0/block/sda"
        try machine.write("1024\n", to: "\(disk)/size")
        try machine.write("8:0\n", to: "sys/class/block/sda/dev")
        try machine.write("36 1 8:0 / / rw - ext4 /dev/sda rw\n", to: "proc/self/mountinfo")
        #expect(try uses(machine) == [.mounted(device: "sda", at: "/")])
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
