import Yams

extension Schema {
    /// `interface` and `settings`. Nil, and problems noted, where there is no name to be had.
    func network(_ reader: inout MappingReader, of name: String) -> NetworkConfiguration? {
        let settings = reader.mapping("settings").map { self.settings($0) } ?? InterfaceSettings()
        guard var interface = reader.mapping("interface") else {
            guard reader.value("interface") == nil else { return nil }
            return defaultName(of: name, at: reader.node).map {
                NetworkConfiguration(interface: InterfaceConfiguration(name: $0), settings: settings)
            }
        }
        let given = interface.value("name")
        let chosen = given.map { interfaceName($0, interface, "name") } ?? defaultName(of: name, at: interface.node)
        var result = InterfaceConfiguration(name: chosen ?? "")
        if let bridge = interface.value("bridge") { result.bridge = interfaceName(bridge, interface, "bridge") }
        if let node = interface.value("namespace"), let namespace = interface.text(node, "namespace") {
            if isFileName(namespace) {
                result.namespace = namespace
            } else {
                problems.add(
                    "'\(interface.inner("namespace"))' is '\(namespace.prefix(64))'; it has to be a name below /run/netns, as 'ip netns' "
                        + "lists them", at: node)
            }
        }
        if let carrier = interface.choice("carrier", InterfaceConfiguration.Carrier.self) { result.carrier = carrier }
        interface.finish()
        var completed = settings
        if completed.promiscuous == nil, result.bridge != nil { completed.promiscuous = true }
        return chosen == nil ? nil : NetworkConfiguration(interface: result, settings: completed)
    }

    private func defaultName(of ddos: String, at node: Node) -> String? {
        let name = "dr-\(ddos)"
        if name.utf8.count <= InterfaceConfiguration.longestName { return name }
        problems.add(
            "'ddos.\(ddos.prefix(64))' has a name too long for an interface ('\(name.prefix(64))' has \(name.utf8.count) bytes of at most "
                + "\(InterfaceConfiguration.longestName)); name one: 'interface: { name: … }'", at: node)
        return nil
    }

    /// A name that Linux takes for an interface, without what means something to some program: `%`, `:`, `@`.
    func interfaceName(_ node: Node, _ reader: MappingReader, _ key: String) -> String? {
        guard let name = reader.text(node, key) else { return nil }
        guard name.utf8.count <= InterfaceConfiguration.longestName else {
            problems.add(
                "'\(reader.inner(key))' is '\(name.prefix(64))', which has \(name.utf8.count) bytes; an interface's name has at most "
                    + "\(InterfaceConfiguration.longestName)", at: node)
            return nil
        }
        guard isFileName(name) else {
            problems.add(
                "'\(reader.inner(key))' is '\(name)'; an interface's name is made of letters, digits, '-', '_' and '.', and begins with a "
                    + "letter or a digit", at: node)
            return nil
        }
        return name
    }

    private func isFileName(_ text: String) -> Bool {
        func alphanumeric(_ byte: UInt8) -> Bool {
            (0x61...0x7a).contains(byte) || (0x41...0x5a).contains(byte) || (0x30...0x39).contains(byte)
        }
        guard let first = text.utf8.first, alphanumeric(first), text.utf8.count <= 64 else { return false }
        return text.utf8.allSatisfy { alphanumeric($0) || "-_.".utf8.contains($0) }
    }

    private func settings(_ given: MappingReader) -> InterfaceSettings {
        var reader = given
        var result = InterfaceSettings()
        // What Linux allows at all; the NIC has its own limits, which only its driver knows.
        result.mtu = reader.integer("mtu", 68...65535)
        if let node = reader.value("mac") { result.mac = mac(node, reader) }
        result.promiscuous = reader.boolean("promiscuous")
        if var ring = reader.mapping("ring") {
            result.receiveRing = ring.integer("rx", 1...65536)
            result.transmitRing = ring.integer("tx", 1...65536)
            ring.finish()
        }
        if var coalesce = reader.mapping("coalesce") {
            result.receiveMicroseconds = coalesce.integer("rx-usecs", 0...1_000_000)
            result.receiveFrames = coalesce.integer("rx-frames", 0...65535)
            result.transmitMicroseconds = coalesce.integer("tx-usecs", 0...1_000_000)
            result.transmitFrames = coalesce.integer("tx-frames", 0...65535)
            coalesce.finish()
        }
        reader.finish()
        return result
    }

    func mac(_ node: Node, _ reader: MappingReader) -> String? {
        guard let text = reader.text(node, "mac") else { return nil }
        guard let mac = InterfaceSettings.mac(text) else {
            problems.add(
                "'\(reader.inner("mac"))' is '\(text.prefix(64))'; it has to be a station's MAC address in quotes, such as "
                    + "\"52:54:00:12:34:56\"", at: node)
            return nil
        }
        return mac
    }

    /// `emulated` with a NIC's model: a wire and an address instead of a disk.
    func emulatedNIC(_ model: String, _ reader: inout MappingReader, of ddos: String) -> DeviceBinding? {
        var address: String? = Self.defaultMAC(of: ddos)
        if let node = reader.value("mac") { address = mac(node, reader) }
        guard let node = reader.value("wire") else {
            problems.add(
                "'\(reader.path)' lacks 'wire: { tap: … }', the TAP device that the emulated NIC's cable leads to", at: reader.node)
            return nil
        }
        guard var wire = MappingReader(node, path: reader.inner("wire"), problems: problems) else { return nil }
        defer { wire.finish() }
        guard let value = wire.required("tap"), let tap = interfaceName(value, wire, "tap"), let address else { return nil }
        return .emulatedNIC(model: model, wire: Wire(tap: tap), mac: address)
    }

    /// The same in every life: 52:54:00 is QEMU's own range of locally administered addresses.
    static func defaultMAC(of ddos: String) -> String {
        var hash: UInt32 = 2_166_136_261
        for byte in ddos.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        let tail = [hash >> 16 & 0xff, hash >> 8 & 0xff, hash & 0xff].map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }
        return (["52", "54", "00"] + tail).joined(separator: ":")
    }
}

extension InterfaceSettings {
    /// A MAC address that a station can have (not multicast, not all zero), in lower case; nil if `text` is none.
    public static func mac(_ text: String) -> String? {
        let parts = text.lowercased().split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6, parts.allSatisfy({ $0.utf8.count == 2 && $0.allSatisfy { $0.isASCII && $0.isHexDigit } }) else {
            return nil
        }
        guard let first = UInt8(parts[0], radix: 16), first & 1 == 0, parts.contains(where: { $0 != "00" }) else { return nil }
        return parts.joined(separator: ":")
    }
}
