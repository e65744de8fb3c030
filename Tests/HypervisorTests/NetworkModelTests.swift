import CLinux
import Foundation
import LinuxSystem
import Testing

@testable import Hypervisor

@Suite struct NetworkXMLTests {
    private func xml(_ change: (inout VirtualMachineSpec) -> Void) throws -> DomainXML {
        let nic = EmulatedNIC(model: .e1000e, tap: "wire0", mac: "52:54:00:00:00:01")
        return try DomainXML(DomainXMLTests.spec(.emulatedNIC(nic), name: "eth0").with(change), emulator: "/q", mark: "")
    }

    @Test(arguments: NetworkModel.allCases) func everyNICSitsInTheDevicesSlotOnItsWire(model: NetworkModel) throws {
        let text = try xml { $0.device = .emulatedNIC(EmulatedNIC(model: model, tap: "wire0", mac: "52:54:00:00:00:01")) }.text
        #expect(text.contains("<target dev='wire0' managed='no'/>"), "libvirt would delete a TAP device that it manages")
        #expect(text.contains("<model type='\(model.device)'/>"))
        #expect(text.contains("<address type='pci' domain='0x0' bus='0x0' slot='0x10' function='0x0'/>"))
        #expect(model.modalias.hasPrefix("pci:v0000") && model.modalias.contains("bc02sc00"))
    }

    @Test func packetsHaveAChannelOfTheirOwn() throws {
        let one = try xml { $0.packets = PacketChannel(socket: "/r,a/net.sock") }.arguments
        #expect(one.contains("socket,id=net0,path=/r,,a/net.sock"))
        #expect(one.contains("vhost-user,id=host0,chardev=net0,queues=1"))
        #expect(one.contains { $0.hasPrefix("virtio-net-pci,netdev=host0,bus=pcie.0,addr=0x13,") && !$0.contains("mq=") })
        let four = try xml { $0.packets = PacketChannel(socket: "/s", queuePairs: 4) }.arguments
        #expect(four.contains { $0.contains("mq=on,vectors=0") })
        let fast = try xml {
            $0.packets = PacketChannel(socket: "/s", queuePairs: 4)
            $0.accelerator = .kvm
        }
        #expect(fast.arguments.contains { $0.contains("mq=on,vectors=10") })
        let path = "/" + String(repeating: "x", count: 107)
        #expect(throws: HypervisorError.pathTooLong(path: path, limit: 107)) { try xml { $0.packets = PacketChannel(socket: path) } }
    }

    @Test func noNameLeavesItsPlace() throws {
        let evil = "'/><x y=\"z\">&"
        let text = try xml { $0.device = .emulatedNIC(EmulatedNIC(model: .e1000, tap: evil, mac: evil)) }.text
        let plain = try xml { _ in }.text
        #expect(text.filter { $0 == "<" }.count == plain.filter { $0 == "<" }.count)
        #expect(text.filter { $0 == "'" }.count == plain.filter { $0 == "'" }.count)
    }
}

/// Real machines: what the guest's kernel finds in the device's slot is what the image is built for.
extension MachineTests {
    @Test(arguments: NetworkModel.allCases) func theGuestFindsTheNICThatItsImageIsBuiltFor(model: NetworkModel) async throws {
        let tap = try TestTap("drvt\(getpid() % 100_000)")
        let place = try Place()
        let hypervisor = try await place.open()
        let nic = EmulatedNIC(model: model, tap: tap.name, mac: "52:54:00:00:00:01")
        _ = try await hypervisor.start(try place.spec(.emulatedNIC(nic)))
        // "pci 0000:00:10.0: [8086:10d3] type 00 class 0x020000"; in the modalias "v00008086d000010D3".
        let ids = model.modalias.dropFirst(5).prefix(17).split(separator: "d").map { $0.suffix(4).lowercased() }
        try await place.waitForConsole("0000:00:10.0: [\(ids[0]):\(ids[1])] type 00 class 0x020000")
        try await hypervisor.destroy("drover-test")
        #expect(tap.exists, "the wire outlives the machine")
        await hypervisor.close()
    }

    @Test func aWireThatIsNotThereIsNamed() async throws {
        let place = try Place()
        let hypervisor = try await place.open()
        let nic = EmulatedNIC(model: .e1000, tap: "drvt-none", mac: "52:54:00:00:00:01")
        do {
            _ = try await hypervisor.start(try place.spec(.emulatedNIC(nic)))
            Issue.record("it started")
        } catch {
            #expect("\(error)".contains("drvt-none"))
        }
        await hypervisor.close()
    }
}

/// A persistent TAP device, gone with the value.
private final class TestTap {
    let name: String

    init(_ name: String) throws {
        self.name = name
        let file = try OwnedDescriptor(path: "/dev/net/tun", .readWrite)
        try #require(clinux_tap_create(file.rawValue, name, 0) == 0, "\(String(cString: strerror(errno)))")
        try #require(clinux_tap_set_persistent(file.rawValue, 1) == 0)
    }

    var exists: Bool { FileManager.default.fileExists(atPath: "/sys/class/net/\(name)") }

    deinit {
        guard let file = try? OwnedDescriptor(path: "/dev/net/tun", .readWrite), clinux_tap_attach(file.rawValue, name, 0) == 0 else {
            return
        }
        _ = clinux_tap_set_persistent(file.rawValue, 0)
    }
}
