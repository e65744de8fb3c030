/// Kernel options, as a fragment asks for them or as the kernel's build settled them.
///
///     CONFIG_PCI=y
///     CONFIG_LOG_BUF_SHIFT=16
///     # CONFIG_SMP is not set
struct KernelConfiguration: Sendable, Equatable {
    /// By name, with the prefix; `n` for what is not set.
    private(set) var options: [String: String] = [:]
    /// In the order in which they were first named.
    private(set) var names: [String] = []

    /// Reads a fragment; each line is an option or a comment.
    ///
    /// - Throws: ``ImageError/badRecipe(path:line:column:problem:)``
    init(untrustedFragment text: String, path: String) throws(ImageError) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            func reject(_ problem: String) -> ImageError { .badRecipe(path: path, line: index + 1, column: 1, problem: problem) }
            guard let (name, value) = Self.option(line) else {
                if line.allSatisfy(\.isWhitespace) || line.hasPrefix("#") { continue }
                throw reject("“\(line.prefix(60))” is neither CONFIG_NAME=value, nor “# CONFIG_NAME is not set”, nor a comment")
            }
            // Drivers of a lean kernel are in it: there is nothing that would load a module.
            guard value != "m" else { throw reject("\(name) can't be a module: a lean kernel has none; say y") }
            if let before = options[name], before != value { throw reject("\(name) is asked to be “\(before)” already") }
            set(name, value)
        }
    }

    /// Reads a final `.config`; what isn't an option counts for nothing.
    init(final text: String) {
        for line in text.split(separator: "\n") {
            if let (name, value) = Self.option(line) { set(name, value) }
        }
    }

    init() {}

    private mutating func set(_ name: String, _ value: String) {
        if options.updateValue(value, forKey: name) == nil { names.append(name) }
    }

    /// Adds what another fragment asks for.
    mutating func add(_ other: KernelConfiguration, path: String) throws(ImageError) {
        for name in other.names {
            guard let value = other.options[name] else { continue }
            if let before = options[name], before != value {
                throw .badRecipe(path: path, line: 0, column: 0, problem: "it asks for \(name)=\(value), another fragment for \(before)")
            }
            set(name, value)
        }
    }

    /// What the kernel's build is given (`KCONFIG_ALLCONFIG`), sorted: the order in which fragments are named says nothing.
    var text: String {
        names.sorted().map { name in
            let value = options[name] ?? "n"
            return value == "n" ? "# \(name) is not set\n" : "\(name)=\(value)\n"
        }.joined()
    }

    /// The options of this one that a final configuration has otherwise, each with what it has instead.
    func unmet(in final: KernelConfiguration) -> [String] {
        names.filter { (options[$0] ?? "n") != (final.options[$0] ?? "n") }
            .map { "\($0)=\(options[$0] ?? "n") (it is \(final.options[$0] ?? "n"))" }
    }

    private static func option(_ line: Substring) -> (String, String)? {
        let suffix = " is not set"
        if line.hasPrefix("# CONFIG_"), line.hasSuffix(suffix) {
            let name = line.dropFirst(2).dropLast(suffix.count)
            return isName(name) ? (String(name), "n") : nil
        }
        guard line.hasPrefix("CONFIG_"), let equals = line.firstIndex(of: "="), isName(line[..<equals]) else { return nil }
        let value = line[line.index(after: equals)...]
        guard !value.isEmpty, value.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) else { return nil }
        return (String(line[..<equals]), String(value))
    }

    private static func isName(_ text: Substring) -> Bool {
        text.count > "CONFIG_".count
            && text.utf8.allSatisfy {
                (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
            }
    }
}
