internal import Yams

extension LeanRecipe {
    /// The keys of a recipe that only a lean one has.
    static let keys = ["sha256", "base", "fragments", "fallback"]

    init(_ fields: [String: Node], _ reader: RecipeReader) throws(ImageError) {
        func required(_ key: String) throws(ImageError) -> Node {
            guard let node = fields[key] else { throw reader.error(reader.root, "“\(key)” is missing; a lean recipe needs it") }
            return node
        }
        var sha256: String?
        if let node = fields["sha256"] {
            let text = try reader.text(node, "sha256")
            guard text.utf8.count == 64, text.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else {
                throw reader.error(node, "“sha256” is 64 hexadecimal digits in lower case")
            }
            guard fields["version"] != nil else { throw reader.error(node, "“sha256” belongs to one “version”, and there is none") }
            sha256 = text
        }
        let fallbackNode = try required("fallback")
        let fallback = try reader.text(fallbackNode, "fallback")
        let base = try Fragment("base", try required("base"), reader)
        let list = try required("fragments")
        guard let mapping = list.mapping else { throw reader.error(list, "“fragments” is a mapping of names to fragments") }
        var fragments: [Fragment] = []
        for (key, node) in mapping {
            let name = try reader.text(key, "a fragment's name")
            guard name != "base", !fragments.contains(where: { $0.name == name }) else {
                throw reader.error(key, "“\(name)” is there twice")
            }
            fragments.append(try Fragment(name, node, reader))
        }
        self.init(sha256: sha256, base: base, fragments: fragments, fallback: fallback)
    }
}

extension LeanRecipe.Fragment {
    init(_ name: String, _ node: Node, _ reader: RecipeReader) throws(ImageError) {
        let parts = try reader.mapping(node, keys: ["configuration", "drivers", "firmware", "memory"], in: "a fragment")
        guard let configuration = parts["configuration"] else { throw reader.error(node, "a fragment needs a “configuration”") }
        let path = try reader.text(configuration, "configuration")
        guard Self.isRelative(path) else {
            throw reader.error(configuration, "“\(path)” has to be the path of a file below the recipe's directory")
        }
        var drivers: [String] = []
        for node in try reader.sequence(parts["drivers"], "drivers") {
            let driver = try reader.text(node, "a driver")
            guard ImageRecipe.isModule(driver), !driver.contains(" ") else {
                throw reader.error(node, "“\(driver)” can't be a driver's name")
            }
            drivers.append(ModuleIndex.normalized(driver))
        }
        var firmware: [String] = []
        for node in try reader.sequence(parts["firmware"], "firmware") {
            let file = try reader.text(node, "a firmware file")
            guard Self.isRelative(file) else { throw reader.error(node, "“\(file)” has to be the path of a file below /lib/firmware") }
            firmware.append(file)
        }
        self.init(
            name: name, configuration: path, drivers: drivers, firmware: firmware,
            memoryMiB: try reader.mebibytes(parts["memory"], "memory"))
    }

    /// Names only what is below the directory that it is put behind.
    private static func isRelative(_ path: String) -> Bool {
        !path.isEmpty && !path.hasPrefix("/") && path.utf8.allSatisfy { (0x21..<0x7f).contains($0) }
            && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }
}
