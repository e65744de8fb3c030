import Foundation
import ServerStub
import Testing

@Suite struct InterfaceDiscoveryTests {
    @Test func theCommandLineNamesClassAndChannel() {
        let line = KernelCommandLine("drover.class=network drover.device=0000:00:10.0 drover.channel=0000:00:13.0")
        #expect(line.isNetwork && line.device == "0000:00:10.0" && line.channel == "0000:00:13.0")
        #expect(!KernelCommandLine("drover.class=block").isNetwork && !KernelCommandLine("").isNetwork)
    }

    @Test func onlyInterfacesBelowTheFunctionAreFoundInTheKernelsOrder() throws {
        let root = NSTemporaryDirectory() + "drover-sysfs-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: root) }
        func interface(_ path: String, index: Int) throws {
            let full = root + "/devices/" + path
            try FileManager.default.createDirectory(atPath: full, withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: root + "/class/net", withIntermediateDirectories: true)
            try "\(index)\n".write(toFile: full + "/ifindex", atomically: true, encoding: .utf8)
            let name = (path as NSString).lastPathComponent
            try FileManager.default.createSymbolicLink(atPath: root + "/class/net/" + name, withDestinationPath: full)
        }
        try interface("virtual/net/lo", index: 1)
        // Two ports of one function, a virtio device's, one on USB, and a neighbour whose address only begins the same.
        try interface("pci0000:00/0000:00:10.0/net/eth10", index: 4)
        try interface("pci0000:00/0000:00:10.0/net/eth9", index: 5)
        try interface("pci0000:00/0000:00:13.0/virtio1/net/eth0", index: 2)
        try interface("pci0000:00/0000:00:04.0/usb1/1-1/1-1:1.0/net/eth1", index: 3)
        try interface("pci0000:00/0000:00:10.01/net/eth7", index: 6)
        #expect(InterfaceDiscovery(sysfs: root, device: "0000:00:10.0").scan() == ["eth10", "eth9"])
        #expect(InterfaceDiscovery(sysfs: root, device: "0000:00:13.0").scan() == ["eth0"])
        #expect(InterfaceDiscovery(sysfs: root, device: "0000:00:04.0").scan() == ["eth1"])
        #expect(InterfaceDiscovery(sysfs: root, device: "0000:00:1f.0").scan().isEmpty)
    }
}
