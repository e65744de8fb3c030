import Foundation
import ServerStub
import Testing

@Suite struct GuestTests {
    @Test func theCommandLineIsReadAmongTheKernelsOwnWords() {
        let line = KernelCommandLine(
            "console=ttyS0 quiet drover.device=0000:00:10.0 drover.port=5000 drover.poll=0 drover.wait=x drover.what drover.more=1\n")
        #expect(line.device == "0000:00:10.0" && line.port == 5000 && line.pollMicroseconds == 0 && line.waitSeconds == 30)
        #expect(KernelCommandLine("") == KernelCommandLine("root=/dev/sda drover.port=0 drover.port=99999999999999999999"))
    }

    @Test func theModuleListKeepsOrderAndParameters() {
        let list = ModuleList("# storage\n/lib/modules/a.ko\n\n  /lib/modules/b.ko  delay_use=0 quiet=1 \n")
        #expect(
            list.entries == [
                .init(path: "/lib/modules/a.ko", parameters: ""), .init(path: "/lib/modules/b.ko", parameters: "delay_use=0 quiet=1"),
            ])
    }

    @Test func nativeArgumentsAreCheckedOneByOne() throws {
        let options = try NativeOptions(["--socket", "/s", "--file", "a", "--file", "b", "--read-only", "--queues", "2", "--poll", "0"])
        #expect(options.files == ["a", "b"] && options.isReadOnly && options.queueCount == 2 && options.pollMicroseconds == 0)
        let measured = try NativeOptions(["--measure-control", "eth0", "--times", "4"])
        #expect(measured.measuredInterface == "eth0" && measured.times == 4)
        for wrong in [
            [], ["--measure-control", "eth0", "--times", "0"], ["--measure-control"], ["--socket"], ["--socket", "/s"], ["--file", "a"],
            ["--what"], ["--socket", "/s", "--file", "a", "--queues", "0"],
            ["--socket", "/s", "--file", "a", "--queues", "two"], ["--socket", "/s", "--file", "a", "--pool", "1"],
        ] {
            #expect(throws: NativeOptions.Problem.self) { try NativeOptions(wrong) }
        }
    }

    @Test func onlyDisksBelowTheFunctionAreFound() throws {
        let root = NSTemporaryDirectory() + "drover-sysfs-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: root) }
        let pci = "/devices/pci0000:00/0000:00:10.0"
        func disk(_ path: String, size: String = "2048", serial: String? = nil, hidden: String = "0") throws {
            let full = root + path
            try FileManager.default.createDirectory(atPath: full + "/device", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: root + "/block", withIntermediateDirectories: true)
            try size.write(toFile: full + "/size", atomically: true, encoding: .utf8)
            try hidden.write(toFile: full + "/hidden", atomically: true, encoding: .utf8)
            if let serial { try (serial + "  \n").write(toFile: full + "/device/serial", atomically: true, encoding: .utf8) }
            let name = (path as NSString).lastPathComponent
            try FileManager.default.createSymbolicLink(atPath: root + "/block/" + name, withDestinationPath: full)
        }
        try disk(pci + "/nvme/nvme0/nvme0n1", serial: "DROVER1")
        try disk(pci + "/nvme/nvme0/nvme0n10")
        try disk(pci + "/nvme/nvme0/nvme0n2")
        try disk(pci + "/nvme/nvme0/nvme0c0n1", hidden: "1")
        try disk(pci + "/empty/sdz", size: "0")
        try disk("/devices/pci0000:00/0000:00:1f.2/sda")
        try disk("/devices/virtual/block/loop0")
        func driver(_ name: String, of path: String) throws {
            try FileManager.default.createDirectory(atPath: "\(root)/drivers/\(name)", withIntermediateDirectories: true)
            try FileManager.default.createSymbolicLink(
                atPath: root + path + "/driver", withDestinationPath: "\(root)/drivers/\(name)")
        }
        try driver("nvme", of: pci)
        try driver("ahci", of: "/devices/pci0000:00/0000:00:1f.2")
        try disk("/devices/pci0000:00/0000:00:1f.2/0:0:0:0/block/sdb")
        try driver("sd", of: "/devices/pci0000:00/0000:00:1f.2/0:0:0:0")
        #expect(DiskDiscovery(sysfs: root, device: "0000:00:1f.2").scan().map(\.drivers) == ["ahci", "ahci, sd"])
        let found = DiskDiscovery(sysfs: root, device: "0000:00:10.0").scan()
        #expect(found.first?.drivers == "nvme")
        #expect(found.map(\.name) == ["nvme0n1", "nvme0n2", "nvme0n10"])
        #expect(found.first?.serial == "DROVER1")
        #expect(DiskDiscovery(sysfs: root, device: "0000:00:11.0").scan().isEmpty)
        #expect(DiskDiscovery(sysfs: root, device: "").scan().map(\.name) == ["sda", "sdb", "nvme0n1", "nvme0n2", "nvme0n10"])
        #expect(DiskDiscovery(sysfs: root + "/nowhere", device: "").scan().isEmpty)
    }

    /// Multipath NVMe: the disk hangs below a virtual subsystem, its controller below the function.
    @Test func aMultipathDiskBelongsToItsControllersFunction() throws {
        let root = NSTemporaryDirectory() + "drover-sysfs-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: root) }
        let files = FileManager.default
        let subsystem = root + "/devices/virtual/nvme-subsystem/nvme-subsys0"
        let controller = root + "/devices/pci0000:00/0000:00:10.0/nvme/nvme0"
        for path in [subsystem + "/nvme0n1", controller, root + "/block"] {
            try files.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        try "2048".write(toFile: subsystem + "/nvme0n1/size", atomically: true, encoding: .utf8)
        try files.createSymbolicLink(atPath: subsystem + "/nvme0", withDestinationPath: controller)
        try files.createSymbolicLink(atPath: subsystem + "/nvme0n1/device", withDestinationPath: subsystem)
        try files.createSymbolicLink(atPath: root + "/block/nvme0n1", withDestinationPath: subsystem + "/nvme0n1")
        try files.createDirectory(atPath: root + "/bus/pci/devices/0000:00:10.0", withIntermediateDirectories: true)
        try files.createDirectory(atPath: root + "/bus/pci/drivers/nvme", withIntermediateDirectories: true)
        try files.createSymbolicLink(
            atPath: root + "/bus/pci/devices/0000:00:10.0/driver", withDestinationPath: root + "/bus/pci/drivers/nvme")
        #expect(DiskDiscovery(sysfs: root, device: "0000:00:10.0").scan().map(\.name) == ["nvme0n1"])
        #expect(DiskDiscovery(sysfs: root, device: "0000:00:10.0").scan().map(\.drivers) == ["nvme"])
        #expect(DiskDiscovery(sysfs: root, device: "0000:00:11.0").scan().isEmpty)
    }
}
