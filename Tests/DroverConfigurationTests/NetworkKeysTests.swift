import DroverConfiguration
import Testing

/// What a configuration may say of a NIC, and what is said of what it may not.
@Suite("Network configurations")
struct NetworkKeysTests {
    @Test func everyKeyIsRead() throws {
        let configuration = try parse(
            """
            ddos:
              eth0:
                class: network
                device: { emulated: e1000e, wire: { tap: wire0 }, mac: "52:54:00:AB:cd:01" }
                interface: { name: lan0, bridge: br0, namespace: lab, carrier: drop }
                settings:
                  mtu: 9000
                  mac: "52:54:00:00:00:02"
                  promiscuous: false
                  ring: { rx: 1024, tx: 512 }
                  coalesce: { rx-usecs: 50, rx-frames: 8, tx-usecs: 0, tx-frames: 16 }
            """)
        var settings = InterfaceSettings()
        settings.mtu = 9000
        settings.mac = "52:54:00:00:00:02"
        settings.promiscuous = false
        settings.receiveRing = 1024
        settings.transmitRing = 512
        settings.receiveMicroseconds = 50
        settings.receiveFrames = 8
        settings.transmitMicroseconds = 0
        settings.transmitFrames = 16
        let interface = InterfaceConfiguration(name: "lan0", bridge: "br0", namespace: "lab", carrier: .drop)
        let ddos = try #require(configuration.ddos.first)
        #expect(ddos.network == NetworkConfiguration(interface: interface, settings: settings))
        #expect(ddos.device == .emulatedNIC(model: "e1000e", wire: Wire(tap: "wire0"), mac: "52:54:00:ab:cd:01"))
        #expect(ddos.frontEnds.isEmpty && ddos.pool.bytes == 0)
    }

    @Test func whatIsLeftOutHasTheDocumentedDefault() throws {
        let text = "ddos: { eth0: { class: network, device: { emulated: pcnet32, wire: { tap: wire0 } } } }"
        let ddos = try #require(try parse(text).ddos.first)
        #expect(ddos.network == NetworkConfiguration(interface: InterfaceConfiguration(name: "dr-eth0")))
        guard case .emulatedNIC(_, _, let mac) = ddos.device else {
            Issue.record("another device: \(ddos.device)")
            return
        }
        #expect(InterfaceSettings.mac(mac) == mac && mac.hasPrefix("52:54:00:"))
        #expect(try parse(text).ddos.first == ddos, "the same address in every life")
        let real = try parse("ddos: { eth0: { class: network, device: { pci: \"02:00.0\" } } }")
        #expect(real.ddos.first?.device == .pci(address: "0000:02:00.0"))
    }

    @Test func aPortOfABridgeIsPromiscuousUnlessItIsSaidOtherwise() throws {
        func promiscuous(_ rest: String) throws -> Bool? {
            try parse("ddos: { e: { class: network, device: { pci: \"02:00.0\" }, \(rest) } }").ddos.first?.network?.settings.promiscuous
        }
        #expect(try promiscuous("interface: { bridge: br0 }") == true)
        #expect(try promiscuous("interface: { bridge: br0 }, settings: { promiscuous: false }") == false)
        #expect(try promiscuous("interface: { name: x }") == nil)
    }

    /// Beneath the first three lines of a good DD/OS this text has exactly this one problem, at this place.
    @Test(arguments: [
        ("interfaces: { name: x }", "4:5: unknown key 'interfaces' in 'ddos.e'; did you mean 'interface'?"),
        ("interface: { nmae: x }", "4:18: unknown key 'nmae' in 'ddos.e.interface'; did you mean 'name'?"),
        ("interface: [ x ]", "4:16: 'ddos.e.interface' has to be a mapping (key: value), not a list"),
        ("interface: dr-x", "4:16: 'ddos.e.interface' has to be a mapping (key: value), not 'dr-x'"),
        ("interface: { name: [ x ] }", "4:24: 'ddos.e.interface.name' has to be a text, not a list"),
        ("interface: { name: \"\" }", "4:24: 'ddos.e.interface.name' has to be a text, not nothing"),
        (
            "interface: { name: sixteen-bytes-on }",
            "4:24: 'ddos.e.interface.name' is 'sixteen-bytes-on', which has 16 bytes; an interface's name has at most 15"
        ),
        (
            "interface: { name: \"a b\" }",
            "4:24: 'ddos.e.interface.name' is 'a b'; an interface's name is made of letters, digits, '-', '_' and '.', and begins with a "
                + "letter or a digit"
        ),
        (
            "interface: { name: ../x }",
            "4:24: 'ddos.e.interface.name' is '../x'; an interface's name is made of letters, digits, '-', '_' and '.', and begins with a "
                + "letter or a digit"
        ),
        (
            "interface: { bridge: \"br0:1\" }",
            "4:26: 'ddos.e.interface.bridge' is 'br0:1'; an interface's name is made of letters, digits, '-', '_' and '.', and begins with "
                + "a letter or a digit"
        ),
        (
            "interface: { namespace: /run/netns/lab }",
            "4:29: 'ddos.e.interface.namespace' is '/run/netns/lab'; it has to be a name below /run/netns, as 'ip netns' lists them"
        ),
        ("interface: { carrier: holt }", "4:27: 'ddos.e.interface.carrier' cannot be 'holt'; did you mean 'hold'?"),
        ("interface: { carrier: 1 }", "4:27: 'ddos.e.interface.carrier' cannot be '1'; possible: hold, drop"),
        ("settings: { mut: 9000 }", "4:17: unknown key 'mut' in 'ddos.e.settings'; did you mean 'mtu'?"),
        ("settings: { mtu: large }", "4:22: 'ddos.e.settings.mtu' has to be a whole number, not 'large'"),
        ("settings: { mtu: 67 }", "4:22: 'ddos.e.settings.mtu' is 67; it has to be from 68 to 65535"),
        ("settings: { mtu: 65536 }", "4:22: 'ddos.e.settings.mtu' is 65536; it has to be from 68 to 65535"),
        ("settings: { promiscuous: yes }", "4:30: 'ddos.e.settings.promiscuous' has to be true or false, not 'yes'"),
        ("settings: { ring: 1024 }", "4:23: 'ddos.e.settings.ring' has to be a mapping (key: value), not '1024'"),
        ("settings: { ring: { rx: 0 } }", "4:29: 'ddos.e.settings.ring.rx' is 0; it has to be from 1 to 65536"),
        ("settings: { ring: { rxx: 8 } }", "4:25: unknown key 'rxx' in 'ddos.e.settings.ring'; did you mean 'rx'?"),
        (
            "settings: { coalesce: { rx-usec: 8 } }",
            "4:29: unknown key 'rx-usec' in 'ddos.e.settings.coalesce'; did you mean 'rx-usecs'?"
        ),
        (
            "settings: { coalesce: { tx-usecs: -1 } }",
            "4:39: 'ddos.e.settings.coalesce.tx-usecs' is -1; it has to be from 0 to 1000000"
        ),
        ("frontends: [ nbd ]", "4:16: 'ddos.e.frontends' belongs to 'class: block'; a NIC is reached by its 'interface'"),
        ("pool: 16MiB", "4:11: 'ddos.e.pool' belongs to 'class: block'; a NIC is reached by its 'interface'"),
        ("queueSize: 64", "4:16: 'ddos.e.queueSize' belongs to 'class: block'; a NIC is reached by its 'interface'"),
        ("requests: { deadline: 5s }", "4:17: 'ddos.e.requests.deadline' belongs to 'class: block': packets are no requests"),
    ])
    func aProblemHasItsPlaceAndAWayOut(_ text: String, _ problem: String) {
        #expect(
            problems("ddos:\n  e: { class: network, device: { pci: \"02:00.0\" },\n    # what follows is wrong\n    \(text) }") == [problem]
        )
    }

    /// No station has such an address.
    @Test(arguments: [
        "01:00:5e:00:00:01", "00:00:00:00:00:00", "52:54:00:12:34", "52-54-00-12-34-56", "52:54:00:12:34:5g", "+2:54:00:12:34:56",
    ])
    func aBadAddressIsNamed(_ mac: String) {
        let words = "it has to be a station's MAC address in quotes, such as \"52:54:00:12:34:56\""
        let setting = "ddos: { e: { class: network, device: { pci: \"02:00.0\" }, settings: { mac: \"\(mac)\" } } }"
        #expect(problems(setting) == ["1:75: 'ddos.e.settings.mac' is '\(mac)'; \(words)"])
        let device = "ddos: { e: { class: network, device: { emulated: e1000e, mac: \"\(mac)\", wire: { tap: w } } } }"
        #expect(problems(device) == ["1:63: 'ddos.e.device.mac' is '\(mac)'; \(words)"])
    }

    /// As the whole of `device:`, in a network DD/OS.
    @Test(arguments: [
        ("{}", "1:38: 'ddos.e.device' needs either 'emulated' (a model and a wire) or 'pci' (an address)"),
        (
            "{ emulated: e1000e, pci: \"02:00.0\", wire: { tap: w } }",
            "1:63: 'ddos.e.device' has both 'emulated' and 'pci'; a DD/OS has one device"
        ),
        (
            "{ emulated: e1000e }",
            "1:38: 'ddos.e.device' lacks 'wire: { tap: … }', the TAP device that the emulated NIC's cable leads to"
        ),
        ("{ emulated: e1000e, wire: {} }", "1:64: 'ddos.e.device.wire' lacks 'tap'"),
        ("{ emulated: e1000e, wire: w }", "1:64: 'ddos.e.device.wire' has to be a mapping (key: value), not 'w'"),
        (
            "{ emulated: e1000e, wire: { tap: a-name-of-16-byt } }",
            "1:71: 'ddos.e.device.wire.tap' is 'a-name-of-16-byt', which has 16 bytes; an interface's name has at most 15"
        ),
        ("{ emulated: e1000e, wire: { tap: w, port: 1 } }", "1:74: unknown key 'port' in 'ddos.e.device.wire'; possible: tap"),
        ("{ emulated: e1000, wire: { tap: w } }", "1:50: 'ddos.e.device.emulated': there is no model 'e1000'; did you mean 'e1000e'?"),
        (
            "{ emulated: nvme, wire: { tap: w } }",
            "1:50: 'ddos.e.device.emulated': 'nvme' is a disk controller; a DD/OS with it has 'class: block'"
        ),
        (
            "{ emulated: e1000e, wire: { tap: w }, backing: { file: /a } }",
            "1:85: 'ddos.e.device.backing' is a disk's file; a NIC has a 'wire: { tap: … }'"
        ),
        (
            "{ pci: \"02:00.0\", wire: { tap: w } }",
            "1:62: 'ddos.e.device.wire' belongs to an emulated NIC; a PCI device brings its own"
        ),
        (
            "{ pci: \"02:00.0\", mac: \"52:54:00:00:00:01\" }",
            "1:61: 'ddos.e.device.mac' belongs to an emulated NIC; a PCI device brings its own"
        ),
    ])
    func aDeviceThatCannotBeIsNamed(_ device: String, _ problem: String) {
        let found = problems("ddos: { e: { class: network, device: \(device) } }")
        #expect(found == [problem])
    }

    @Test func whatANetworkDDOSHasABlockDDOSHasNot() {
        let block = "ddos: { e: { device: { emulated: nvme, backing: { file: /a }%1 }%2 } }"
        func with(_ inner: String, _ outer: String) -> [String] {
            problems(block.replacing("%1", with: inner).replacing("%2", with: outer))
        }
        #expect(with("", ", interface: { name: x }") == ["1:76: 'ddos.e.interface' belongs to 'class: network'"])
        #expect(with("", ", settings: { mtu: 9000 }") == ["1:75: 'ddos.e.settings' belongs to 'class: network'"])
        #expect(
            with(", wire: { tap: w }", "")
                == ["1:69: 'ddos.e.device.wire' belongs to a NIC ('class: network'); a disk has a 'backing: { file: … }'"])
        #expect(
            problems("ddos: { e: { device: { emulated: e1000e, wire: { tap: w } } } }")
                == ["1:34: 'ddos.e.device.emulated': 'e1000e' is a NIC; a DD/OS with it has 'class: network'"])
    }

    @Test func noTwoShareAWireOrAnInterface() {
        func two(_ first: String, _ second: String) -> [String] {
            problems(
                "ddos:\n  a: { class: network, device: { emulated: e1000e, wire: { tap: w1 } }\(first) }\n"
                    + "  b: { class: network, device: { emulated: e1000e, wire: { tap: w2 } }\(second) }")
        }
        #expect(two("", "") == [])
        #expect(
            two(", interface: { name: x }", ", interface: { name: x }")
                == ["3:6: 'ddos.b' uses the interface x, which belongs to 'a' already"])
        #expect(two(", interface: { name: x, namespace: lab }", ", interface: { name: x }") == [])
        #expect(
            two(", interface: { name: x, namespace: lab }", ", interface: { name: x, namespace: lab }")
                == ["3:6: 'ddos.b' uses the interface x in the namespace lab, which belongs to 'a' already"])
        #expect(two(", interface: { name: w2 }", "") == ["3:6: 'ddos.b' uses the TAP device w2, which belongs to 'a' already"])
    }

    @Test func aNameTooLongForADefaultInterfaceHasToBeGivenOne() {
        let name = "a-rather-long-name"
        let problem =
            "1:29: 'ddos.\(name)' has a name too long for an interface ('dr-\(name)' has 21 bytes of at most 15); name one: "
            + "'interface: { name: … }'"
        #expect(problems("ddos: { \(name): { class: network, device: { pci: \"02:00.0\" } } }") == [problem])
    }
}
