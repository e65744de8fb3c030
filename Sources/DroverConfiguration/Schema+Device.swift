import Yams

extension Schema {
    func device(_ node: Node, path: String, of ddos: String, _ deviceClass: DeviceClass) -> DeviceBinding? {
        guard var reader = MappingReader(node, path: path, problems: problems) else { return nil }
        defer { reader.finish() }
        let emulated = reader.value("emulated")
        let backing = reader.value("backing")
        let pci = reader.value("pci")
        switch (emulated, pci) {
        case (nil, nil):
            let needs = deviceClass == .block ? "a backing file" : "a wire"
            problems.add("'\(path)' needs either 'emulated' (a model and \(needs)) or 'pci' (an address)", at: node)
            return nil
        case (.some, .some):
            problems.add("'\(path)' has both 'emulated' and 'pci'; a DD/OS has one device", at: pci)
            // Known keys all the same: one mistake is one message.
            for key in ["wire", "mac"] { _ = reader.value(key) }
            return nil
        case (nil, .some(let value)):
            if let backing {
                problems.add("'\(path).backing' belongs to an emulated device; a PCI device brings its own disk", at: backing)
            }
            for key in ["wire", "mac"] {
                guard let value = reader.value(key) else { continue }
                problems.add("'\(path).\(key)' belongs to an emulated NIC; a PCI device brings its own", at: value)
            }
            guard let text = reader.text(value, "pci") else { return nil }
            guard let address = Self.pciAddress(text) else {
                problems.add(
                    "'\(path).pci' is '\(text.prefix(64))'; it has to be a PCI address in quotes, such as \"0000:01:00.0\"", at: value)
                return nil
            }
            return .pci(address: address)
        case (.some(let value), nil):
            guard let model = reader.text(value, "emulated") else { return nil }
            let (known, others, other) = deviceClass == .block ? (models, nics, "a NIC") : (nics, models, "a disk controller")
            guard known.contains(model) else {
                let hint =
                    others.contains(model)
                    ? "'\(model)' is \(other); a DD/OS with it has 'class: \(deviceClass == .block ? DeviceClass.network : .block)'"
                    : "there is no model '\(model.prefix(64))'\(MappingReader.suggestion(model, known))"
                problems.add("'\(path).emulated': \(hint)", at: value)
                // Known keys of either class: one mistake is one message.
                for key in ["wire", "mac"] { _ = reader.value(key) }
                return nil
            }
            if deviceClass == .network {
                if let backing {
                    problems.add("'\(path).backing' is a disk's file; a NIC has a 'wire: { tap: … }'", at: backing)
                }
                return emulatedNIC(model, &reader, of: ddos)
            }
            for key in ["wire", "mac"] {
                guard let value = reader.value(key) else { continue }
                problems.add("'\(path).\(key)' belongs to a NIC ('class: network'); a disk has a 'backing: { file: … }'", at: value)
            }
            guard let backing else {
                problems.add("'\(path)' lacks 'backing: { file: …, size: … }', the emulated device's disk", at: node)
                return nil
            }
            return self.backing(backing, path: "\(path).backing").map { .emulated(model: model, backing: $0) }
        }
    }

    private func backing(_ node: Node, path: String) -> Backing? {
        guard var reader = MappingReader(node, path: path, problems: problems) else { return nil }
        defer { reader.finish() }
        let size = reader.size("size", ByteSize(bytes: 4096)...ByteSize(bytes: 1 << 50), multipleOf: ByteSize(bytes: 512))
        guard let value = reader.required("file"), let file = reader.text(value, "file") else { return nil }
        guard file.hasPrefix("/") || file.hasPrefix("$RUN_DIR/") || file.hasPrefix("$CACHE_DIR/"),
            !file.split(separator: "/").contains("..")
        else {
            problems.add(
                "'\(path).file' is '\(file.prefix(64))'; it has to be an absolute path, or begin with $RUN_DIR/ or $CACHE_DIR/", at: value)
            return nil
        }
        // It becomes part of a QEMU option.
        guard !file.contains(where: { $0 == "," || $0.isNewline || $0.unicodeScalars.contains { $0.value < 32 } }) else {
            problems.add("'\(path).file' has a comma or a control character in it; choose another name", at: value)
            return nil
        }
        return Backing(file: file, size: size)
    }

    /// `[domain:]bus:slot.function` in hexadecimal, in full length; nil if it is none.
    static func pciAddress(_ text: String) -> String? {
        var fields = text.lowercased().split(separator: ":", omittingEmptySubsequences: false)
        if fields.count == 2 { fields.insert("0000", at: 0) }
        guard fields.count == 3, fields[0].count == 4, fields[1].count == 2 else { return nil }
        let last = fields[2].split(separator: ".", omittingEmptySubsequences: false)
        guard last.count == 2, last[0].count == 2, last[1].count == 1 else { return nil }
        guard hexadecimal(fields[0]) != nil, hexadecimal(fields[1]) != nil else { return nil }
        guard let slot = hexadecimal(last[0]), slot < 32, let function = hexadecimal(last[1]), function < 8 else { return nil }
        return fields.joined(separator: ":")
    }

    /// Digits only: the standard initialiser takes a sign as well.
    private static func hexadecimal(_ digits: Substring) -> Int? {
        digits.allSatisfy { $0.isASCII && $0.isHexDigit } ? Int(digits, radix: 16) : nil
    }

    func frontEnds(_ node: Node, path: String) -> [FrontEnd] {
        guard case .sequence(let list) = node else {
            problems.add("'\(path)' has to be a list, such as [ nbd ], not \(MappingReader.kind(node))", at: node)
            return []
        }
        var result: [FrontEnd] = []
        for item in list {
            if let name = item.scalar?.string {
                guard name == "nbd" else {
                    problems.add(
                        "'\(path)': there is no front end '\(name.prefix(64))'\(MappingReader.suggestion(name, FrontEnd.kinds))", at: item)
                    continue
                }
                result.append(.nbd(socket: nil))
            } else if var reader = MappingReader(item, path: path, problems: problems) {
                if var nbd = reader.mapping("nbd") {
                    let socket = nbd.text("socket")
                    if let socket, !socket.hasPrefix("/") || socket.utf8.count > 107 {
                        problems.add("'\(path).nbd.socket' has to be an absolute path of at most 107 bytes", at: nbd.node)
                    }
                    nbd.finish()
                    result.append(.nbd(socket: socket))
                }
                reader.finish()
            }
        }
        if result.count > 1 { problems.add("'\(path)' names the NBD front end twice", at: node) }
        return result
    }

    func check(name: String, at key: Node) {
        if !isName(name) || name.count > 32 {
            problems.add(
                "'\(name.prefix(64))' cannot name a DD/OS: use at most 32 of a-z 0-9 - _ . and begin with a letter or a digit, because it names "
                    + "files and the VM", at: key)
        }
    }

    /// What only the other class has: better refused than without effect.
    func checkKeys(_ reader: inout MappingReader, of deviceClass: DeviceClass) {
        switch deviceClass {
        case .block:
            for key in ["interface", "settings"] {
                guard let node = reader.value(key) else { continue }
                problems.add("'\(reader.inner(key))' belongs to 'class: network'", at: node)
            }
        case .network:
            for key in ["frontends", "pool", "queueSize"] {
                guard let node = reader.value(key) else { continue }
                problems.add("'\(reader.inner(key))' belongs to 'class: block'; a NIC is reached by its 'interface'", at: node)
            }
            guard case .mapping(let requests)? = reader.value("requests") else { return }
            for (key, _) in requests where ["deadline", "whileDown", "holdLimit"].contains(key.scalar?.string) {
                problems.add(
                    "'\(reader.inner("requests")).\(key.scalar?.string ?? "")' belongs to 'class: block': packets are no requests", at: key)
            }
        }
    }

    /// Two DD/OSs on one disk would destroy it.
    func claim(_ ddos: DDOSConfiguration, at node: Node, owners: inout [String: String]) {
        var claims: [(key: String, what: String)] = []
        switch ddos.device {
        case .emulated(_, let backing): claims.append(("file " + backing.file, "the backing file \(backing.file)"))
        case .emulatedNIC(_, let wire, _): claims.append(("interface " + wire.tap, "the TAP device \(wire.tap)"))
        case .pci(let address): if !address.isEmpty { claims.append(("pci " + address, "the PCI device \(address)")) }
        }
        if let interface = ddos.network?.interface {
            // In another namespace a name is another interface.
            let place = interface.namespace.map { " in the namespace \($0)" } ?? ""
            claims.append(("interface " + interface.name + place, "the interface \(interface.name)\(place)"))
        }
        for case .nbd(let socket?) in ddos.frontEnds { claims.append(("socket " + socket, "the socket \(socket)")) }
        for (key, what) in claims {
            if let owner = owners.updateValue(ddos.name, forKey: key) {
                problems.add("'ddos.\(ddos.name)' uses \(what), which belongs to '\(owner)' already", at: node)
            }
        }
    }

    func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 64 else { return false }
        func alphanumeric(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) }
        return alphanumeric(first) && text.utf8.allSatisfy { alphanumeric($0) || "-_.".utf8.contains($0) }
    }
}
