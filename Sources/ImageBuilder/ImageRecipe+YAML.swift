internal import Yams

extension ImageRecipe {
    /// Reads a recipe. Every key is known, every value has its type, or it is an error with its place.
    init(untrustedYAML text: String, name: String, path: String) throws(ImageError) {
        let reader = try RecipeReader(text, path: path)
        let known = ["kind", "description", "package", "version", "modules", "aliases", "commandLine"]
        let fields = try reader.mapping(reader.root, keys: known, in: "a recipe")
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
            package: package, version: version, modules: modules, aliases: aliases, commandLine: commandLine)
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

/// YAML nodes with their places.
private struct RecipeReader {
    var root: Node
    var path: String

    init(_ text: String, path: String) throws(ImageError) {
        self.path = path
        do {
            guard let node = try Yams.compose(yaml: text) else {
                throw ImageError.badRecipe(path: path, line: 1, column: 1, problem: "the recipe is empty")
            }
            root = node
        } catch let error as ImageError {
            throw error
        } catch let error as YamlError {
            throw Self.syntaxError(error, path)
        } catch {
            throw .badRecipe(path: path, line: 0, column: 0, problem: "it isn't YAML")
        }
    }

    private static func syntaxError(_ error: YamlError, _ path: String) -> ImageError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            .badRecipe(path: path, line: mark.line, column: mark.column, problem: problem)
        case .duplicatedKeysInMapping(let duplicates, let context):
            .badRecipe(
                path: path, line: context.mark.line, column: context.mark.column,
                problem: "“\(duplicates.joined(separator: ", "))” is there twice")
        default: .badRecipe(path: path, line: 0, column: 0, problem: "it isn't YAML")
        }
    }

    func error(_ node: Node, _ problem: String) -> ImageError {
        .badRecipe(path: path, line: node.mark?.line ?? 0, column: node.mark?.column ?? 0, problem: problem)
    }

    func mapping(_ node: Node, keys: [String], in place: String) throws(ImageError) -> [String: Node] {
        guard let mapping = node.mapping else { throw error(node, "\(place) is a mapping of keys to values") }
        var fields: [String: Node] = [:]
        for (key, value) in mapping {
            guard let name = key.string, keys.contains(name) else {
                let found = key.string ?? "this"
                throw error(key, "“\(found)” is no key of \(place); there is: \(keys.joined(separator: ", "))")
            }
            guard fields.updateValue(value, forKey: name) == nil else { throw error(key, "“\(name)” is there twice") }
        }
        return fields
    }

    func sequence(_ node: Node?, _ key: String) throws(ImageError) -> [Node] {
        guard let node else { return [] }
        guard let sequence = node.sequence else { throw error(node, "“\(key)” is a list") }
        return Array(sequence)
    }

    func text(_ node: Node, _ key: String) throws(ImageError) -> String {
        guard let text = node.scalar?.string else { throw error(node, "“\(key)” is text") }
        return text
    }
}
