import Foundation
import Testing

@testable import PCIInventory

/// What of the host's networking would break.
@Suite struct NetworkUseTests {
    private let place = "sys/bus/pci/devices/0000:01:00.0"

    private func uses(_ machine: FakeMachine) throws -> [HostUse] {
        let function = try #require(try machine.inventory.functions().first)
        return HostUse.find(function, root: machine.root)
    }

    private func network() throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.add("0000:01:00.0", classCode: 0x020000, driver: "e1000e", group: 7)
        try machine.folder("\(place)/net/eth0")
        try machine.folder("sys/class/net/eth0")
        return machine
    }

    @Test func theDefaultRoutesInterfaceIsInUse() throws {
        let machine = try network()
        #expect(try uses(machine) == [])
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        try machine.write(header + "eth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n", to: "proc/net/route")
        #expect(try uses(machine) == [.defaultRoute(interface: "eth0")])
    }

    @Test func theDefaultRouteOverABridgeCountsForItsPort() throws {
        let machine = try network()
        try machine.folder("sys/class/net/eth0/upper_br0")
        let zeros = String(repeating: "0", count: 32)
        try machine.write(
            "\(zeros) 00 \(zeros) 00 fe80 00000400 0 0 00000003 br0\n\(zeros) 00 \(zeros) 00 \(zeros) ffffffff 1 0 00200200 lo\n",
            to: "proc/net/ipv6_route")
        #expect(try uses(machine) == [.defaultRoute(interface: "eth0, as part of br0")])
    }

    /// The host is connected to the switch by br-ex, which is not above eth0.
    @Test func theDefaultRouteOverOpenVSwitchCountsForItsPorts() throws {
        let machine = try network()
        try machine.folder("sys/class/net/eth0/upper_ovs-system")
        try machine.folder("sys/class/net/ovs-system/lower_eth0")
        for (name, kind) in [("br-ex", "uevent"), ("wg0", "uevent"), ("tap0", "tun_flags"), ("lo", "uevent")] {
            try machine.write(kind == "uevent" ? "INTERFACE=\(name)\n" : "0x1002\n", to: "sys/class/net/\(name)/\(kind)")
            try machine.write(name == "lo" ? "772\n" : "1\n", to: "sys/class/net/\(name)/type")
        }
        try machine.write("DEVTYPE=wireguard\nINTERFACE=wg0\n", to: "sys/class/net/wg0/uevent")
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        func route(_ name: String) throws {
            try machine.write(header + "\(name) 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n", to: "proc/net/route")
        }
        for other in ["wg0", "tap0", "lo"] {
            try route(other)
            #expect(try uses(machine) == [])
        }
        try route("br-ex")
        #expect(try uses(machine) == [.defaultRoute(interface: "eth0, as part of br-ex")])
    }

    @Test func theInterfaceOfAnSSHConnectionIsInUse() throws {
        let machine = try network()
        try machine.write("0102A8C0\n", to: "sys/class/net/eth0/addresses")
        let header = "  sl  local_address rem_address   st tx_queue\n"
        try machine.write(header + "   0: 0102A8C0:0016 0202A8C0:C350 06 0\n", to: "proc/net/tcp")
        #expect(try uses(machine) == [])
        try machine.write(header + "   0: 0102A8C0:0016 0202A8C0:C350 01 0\n", to: "proc/net/tcp")
        #expect(try uses(machine) == [.sshConnection(interface: "eth0", address: "192.168.2.1")])
        try machine.remove("proc/net/tcp")
        try machine.write(
            header + "   0: 0000000000000000FFFF00000102A8C0:0016 0000000000000000FFFF00000202A8C0:C350 01 0\n", to: "proc/net/tcp6")
        #expect(try uses(machine) == [.sshConnection(interface: "eth0", address: "192.168.2.1")])
    }

    private let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

    private func line(_ address: String, _ port: String, _ state: String, inode: Int) -> String {
        "   0: \(address):\(port) 0202A8C0:C350 \(state) 00000000:00000000 00:00000000 00000000     0        0 \(inode) 1 0 20 4 30 10 -1\n"
    }

    private func process(_ machine: FakeMachine, _ number: Int, _ name: String, sockets: [Int]) throws {
        try machine.write("\(name)\n", to: "proc/\(number)/comm")
        try machine.folder("proc/\(number)/fd")
        for (descriptor, inode) in sockets.enumerated() { try machine.link("proc/\(number)/fd/\(descriptor)", to: "socket:[\(inode)]") }
    }

    /// And nobody's environment tells of it.
    @Test func theConnectionsOfAnSSHServerAtAnotherPortCount() throws {
        let machine = try network()
        try machine.write("0102A8C0\n", to: "sys/class/net/eth0/addresses")
        try machine.write(
            header + line("00000000", "08AE", "0A", inode: 501) + line("0102A8C0", "08AE", "01", inode: 502)
                + line("0102A8C0", "1F90", "01", inode: 503), to: "proc/net/tcp")
        #expect(try uses(machine) == [])
        try process(machine, 77, "nginx", sockets: [501, 503])
        #expect(try uses(machine) == [])
        try process(machine, 78, "sshd", sockets: [500, 501])
        #expect(try uses(machine) == [.sshConnection(interface: "eth0", address: "192.168.2.1")])
    }

    @Test func aSessionWhoseServerListensNoMoreCounts() throws {
        let machine = try network()
        try machine.write("0102A8C0\n", to: "sys/class/net/eth0/addresses")
        try machine.write(header + line("0102A8C0", "08AE", "01", inode: 502), to: "proc/net/tcp")
        try process(machine, 79, "sshd-session", sockets: [502])
        #expect(try uses(machine) == [.sshConnection(interface: "eth0", address: "192.168.2.1")])
    }

    @Test func anAddressWithALabelIsItsInterfaces() {
        #expect(NetworkUse.interface(ofLabel: "eth0:1") == "eth0")
        #expect(NetworkUse.interface(ofLabel: "eth0") == "eth0")
    }
}
