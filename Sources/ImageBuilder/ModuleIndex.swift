/// What `depmod` says of a kernel's modules: `modules.dep`, `modules.alias`, `modules.softdep`, `modules.builtin` and
/// `modules.builtin.modinfo`.
struct ModuleIndex: Sendable {
    /// A module file and the modules it needs.
    struct Entry: Sendable, Equatable {
        /// Relative to the directory of the index: `kernel/drivers/nvme/host/nvme.ko`.
        var path: String
        /// Names. A module's needs come after the module in `modules.dep`: the last loads first.
        var dependencies: [String]
    }

    /// Modules that are better loaded before or after another; they need not exist.
    struct SoftDependencies: Sendable, Equatable {
        var before: [String] = []
        var after: [String] = []
    }

    /// By module name.
    private(set) var modules: [String: Entry] = [:]
    private(set) var builtin: Set<String> = []
    private(set) var softDependencies: [String: SoftDependencies] = [:]
    /// `alias PATTERN MODULE` lines, unparsed: there are twenty thousand, and few questions.
    private let aliases: [UInt8]
    private var builtinAliases: [(pattern: AliasPattern, driver: String)] = []

    /// - Parameter extraAliases: Patterns of built-in drivers: a kernel doesn't list their device tables anywhere.
    init(
        dep: [UInt8], alias: [UInt8] = [], softdep: [UInt8] = [], builtin: [UInt8] = [], builtinModinfo: [UInt8] = [],
        extraAliases: [ImageRecipe.Alias] = []
    ) {
        aliases = alias
        for line in Self.lines(dep) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count >= 1 else { continue }
            let needs = parts.count == 2 ? parts[1].split(separator: " ").map { Self.moduleName(path: String($0)) } : []
            let path = String(parts[0])
            modules[Self.moduleName(path: path)] = Entry(path: path, dependencies: needs)
        }
        for line in Self.lines(builtin) { self.builtin.insert(Self.moduleName(path: String(line))) }
        for line in Self.lines(softdep) { parseSoftDependency(line) }
        for record in builtinModinfo.split(separator: 0) { parseBuiltin(String(decoding: record, as: UTF8.self)) }
        for extra in extraAliases {
            builtinAliases.append((AliasPattern(extra.match), Self.normalized(extra.driver)))
        }
    }

    /// `softdep NAME pre: A B post: C`; words before the first `pre:` or `post:` say nothing.
    private mutating func parseSoftDependency(_ line: Substring) {
        let words = line.split(separator: " ").map(String.init)
        guard words.count > 2, words[0] == "softdep" else { return }
        var found = softDependencies[Self.normalized(words[1])] ?? SoftDependencies()
        var before: Bool?
        for word in words[2...] {
            switch (word, before) {
            case ("pre:", _): before = true
            case ("post:", _): before = false
            case (_, true?): found.before.append(word)
            case (_, false?): found.after.append(word)
            default: break
            }
        }
        softDependencies[Self.normalized(words[1])] = found
    }

    /// `NAME.alias=PATTERN`
    private mutating func parseBuiltin(_ record: String) {
        guard let equals = record.firstIndex(of: "="), let dot = record[..<equals].firstIndex(of: "."),
            record[record.index(after: dot)..<equals] == "alias"
        else { return }
        let pattern = AliasPattern(String(record[record.index(after: equals)...]))
        builtinAliases.append((pattern, Self.normalized(String(record[..<dot]))))
    }

    /// The drivers whose aliases match, in the index' order.
    func drivers(for modalias: String) -> (modules: [String], builtin: [String]) {
        var found: [String] = []
        let text = Array(modalias.utf8)
        let keyword = Array("alias ".utf8)
        for line in aliases.split(separator: UInt8(ascii: "\n")) where line.starts(with: keyword) {
            let rest = line.dropFirst(keyword.count)
            guard let space = rest.lastIndex(of: UInt8(ascii: " ")), AliasPattern.matches(pattern: rest[..<space], text) else {
                continue
            }
            let name = Self.normalized(String(decoding: rest[(space + 1)...], as: UTF8.self))
            if modules[name] != nil, !found.contains(name) { found.append(name) }
        }
        var inKernel: [String] = []
        for (pattern, driver) in builtinAliases where pattern.matches(modalias) {
            if modules[driver] != nil, !found.contains(driver) { found.append(driver) }
            if builtin.contains(driver), !inKernel.contains(driver) { inKernel.append(driver) }
        }
        return (found, inKernel)
    }

    static func lines(_ bytes: [UInt8]) -> [Substring] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
    }

    /// `kernel/drivers/misc/pvpanic/pvpanic-pci.ko.xz` → `pvpanic_pci`
    static func moduleName(path: String) -> String {
        let file = path.split(separator: "/").last ?? ""
        let stem = file.firstRange(of: ".ko").map { file[..<$0.lowerBound] } ?? file
        return normalized(stem.filter { $0 != " " })
    }

    /// Names differ in `-` and `_` between files, aliases and `/proc/modules`; the last has `_`.
    static func normalized(_ name: String) -> String { name.replacing("-", with: "_") }
}
