internal import Yams

extension ImageRecipe {
    /// Reads a recipe. Every key is known, every value has its type, or it is an error with its place.
    init(untrustedYAML text: String, name: String, path: String) throws(ImageError) {
        let reader = try RecipeReader(text, path: path)
        let common = ["kind", "description", "package", "version", "memory", "pool", "commandLine"]
        let fields = try reader.mapping(
            reader.root, keys: common + ["modules", "aliases"] + LeanRecipe.keys, in: "a recipe")
        func required(_ key: String) throws(ImageError) -> Node {
            guard let node = fields[key] else { throw reader.error(reader.root, "“\(key)” is missing") }
            return node
        }
        let kindNode = try required("kind")
        let kindText = try reader.text(kindNode, "kind")
        guard let kind = Kind(rawValue: kindText) else {
            let kinds = Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw reader.error(kindNode, "“\(kindText)” is no kind of image; there is: \(kinds)")
        }
        let own = kind == .lean ? LeanRecipe.keys : ["modules", "aliases"]
        for key in fields.keys.sorted() where !(common + own).contains(key) {
            throw reader.error(
                fields[key] ?? reader.root,
                "“\(key)” is no key of a \(kind.rawValue) recipe; there is: \((common + own).joined(separator: ", "))")
        }
        let packageNode = try required("package")
        let package = try reader.text(packageNode, "package")
        guard Self.isPackageName(package) else { throw reader.error(packageNode, "“\(package)” can't be a package's name") }
        var version: String?
        if let node = fields["version"] {
            let text = try reader.text(node, "version")
            guard Self.isVersion(text) else { throw reader.error(node, "“\(text)” can't be a package's version") }
            version = text
        }
        var modules: [String] = []
        for node in try reader.sequence(fields["modules"], "modules") {
            let module = try reader.text(node, "a module")
            guard Self.isModule(module) else { throw reader.error(node, "“\(module)” can't be a module and its parameters") }
            modules.append(module)
        }
        var aliases: [Alias] = []
        for node in try reader.sequence(fields["aliases"], "aliases") {
            let parts = try reader.mapping(node, keys: ["match", "driver"], in: "an alias")
            guard let match = parts["match"], let driver = parts["driver"] else {
                throw reader.error(node, "an alias needs “match” and “driver”")
            }
            aliases.append(Alias(match: try reader.text(match, "match"), driver: try reader.text(driver, "driver")))
        }
        let commandLineNode = fields["commandLine"]
        let commandLine = try commandLineNode.map { node throws(ImageError) in try reader.text(node, "commandLine") } ?? ""
        if let commandLineNode, commandLine.contains(where: \.isNewline) {
            throw reader.error(commandLineNode, "a kernel command line is one line")
        }
        self.init(
            name: name, kind: kind,
            description: try fields["description"].map { node throws(ImageError) in try reader.text(node, "description") } ?? "",
            package: package, version: version, modules: modules, aliases: aliases, commandLine: commandLine,
            memoryMiB: try reader.mebibytes(fields["memory"], "memory"), poolMiB: try reader.mebibytes(fields["pool"], "pool"),
            lean: kind == .lean ? try LeanRecipe(fields, reader) : nil)
    }

    /// Debian policy, 5.6.1.
    static func isPackageName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count > 1, isLowerAlphanumeric(first) else { return false }
        return text.utf8.allSatisfy { isLowerAlphanumeric($0) || "+-.".utf8.contains($0) }
    }

    /// Debian policy, 5.6.12.
    static func isVersion(_ text: String) -> Bool {
        guard let first = text.first, first.isASCII, first.isNumber else { return false }
        return text.utf8.allSatisfy { isLowerAlphanumeric($0 | 0x20) || "+-.~:".utf8.contains($0) }
    }

    /// A module's name, and parameters after a space. The guest reads one a line.
    static func isModule(_ text: String) -> Bool {
        guard let name = text.split(separator: " ").first, text.utf8.first != UInt8(ascii: " ") else { return false }
        return name.utf8.allSatisfy { isLowerAlphanumeric($0 | 0x20) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
            && text.utf8.allSatisfy { (0x20..<0x7f).contains($0) }
    }

    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
