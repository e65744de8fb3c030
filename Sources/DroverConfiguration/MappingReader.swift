import Yams

/// Collects what is wrong, so that one run names every problem of a file.
final class Problems {
    private(set) var list: [ConfigurationProblem] = []

    func add(_ message: String, at node: Node?) {
        list.append(ConfigurationProblem(line: node?.mark?.line ?? 0, column: node?.mark?.column ?? 0, message: message))
    }
}

/// Takes a mapping apart, key by key. Every method returns nil where the key is absent or its value is wrong; in the
/// latter case the problem was noted. ``finish()`` notes the keys nobody asked for.
struct MappingReader {
    let node: Node
    let problems: Problems
    /// For messages: `ddos.nvme0.restart`.
    let path: String
    private let pairs: [(key: Node, value: Node)]
    private var known: [String] = []

    /// Nil, and a problem noted, if `node` is not a mapping.
    init?(_ node: Node, path: String, problems: Problems) {
        guard case .mapping(let mapping) = node else {
            problems.add("\(path.isEmpty ? "the file" : "'\(path)'") has to be a mapping (key: value), not \(Self.kind(node))", at: node)
            return nil
        }
        self.node = node
        self.path = path
        self.problems = problems
        pairs = mapping.map { ($0.key, $0.value) }
    }

    /// Every pair, for mappings whose keys are names. Counts them all as known.
    mutating func names() -> [(name: String, key: Node, value: Node)] {
        var result: [(String, Node, Node)] = []
        for (key, value) in pairs {
            guard let name = key.scalar?.string else {
                problems.add("a key of '\(path)' has to be a name, not \(Self.kind(key))", at: key)
                continue
            }
            known.append(name)
            result.append((name, key, value))
        }
        return result
    }

    mutating func value(_ key: String) -> Node? {
        known.append(key)
        return pairs.first { $0.key.scalar?.string == key }?.value
    }

    mutating func required(_ key: String) -> Node? {
        let found = value(key)
        if found == nil { problems.add("\(path.isEmpty ? "the file" : "'\(path)'") lacks '\(key)'", at: node) }
        return found
    }

    mutating func mapping(_ key: String) -> MappingReader? {
        value(key).flatMap { MappingReader($0, path: inner(key), problems: problems) }
    }

    mutating func text(_ key: String) -> String? {
        value(key).flatMap { text($0, key) }
    }

    mutating func boolean(_ key: String) -> Bool? {
        guard let node = value(key) else { return nil }
        if case .scalar(let scalar) = node, scalar.style == .plain {
            if scalar.string == "true" { return true }
            if scalar.string == "false" { return false }
        }
        problems.add("'\(inner(key))' has to be true or false, not \(Self.kind(node))", at: node)
        return nil
    }

    mutating func integer(_ key: String, _ range: ClosedRange<Int>) -> Int? {
        guard let node = value(key) else { return nil }
        guard case .scalar(let scalar) = node, scalar.style == .plain, let number = Int(scalar.string) else {
            problems.add("'\(inner(key))' has to be a whole number, not \(Self.kind(node))", at: node)
            return nil
        }
        guard range.contains(number) else {
            problems.add("'\(inner(key))' is \(number); it has to be from \(range.lowerBound) to \(range.upperBound)", at: node)
            return nil
        }
        return number
    }

    mutating func size(_ key: String, _ range: ClosedRange<ByteSize>, multipleOf unit: ByteSize) -> ByteSize? {
        guard let node = value(key), let text = text(node, key) else { return nil }
        do throws(QuantityProblem) {
            let size = try ByteSize(parsing: text)
            guard range.contains(size) else {
                problems.add("'\(inner(key))' is \(text); it has to be from \(range.lowerBound) to \(range.upperBound)", at: node)
                return nil
            }
            guard size.bytes % unit.bytes == 0 else {
                problems.add("'\(inner(key))' is \(text); it has to be a multiple of \(unit)", at: node)
                return nil
            }
            return size
        } catch {
            problems.add("'\(inner(key))': \(error.message)", at: node)
            return nil
        }
    }

    mutating func duration(_ key: String, _ range: ClosedRange<Duration>) -> Duration? {
        guard let node = value(key), let text = text(node, key) else { return nil }
        return duration(text, range, at: node, key)
    }

    /// `LOW..HIGH`.
    mutating func durationRange(_ key: String, _ range: ClosedRange<Duration>) -> ClosedRange<Duration>? {
        guard let node = value(key), let text = text(node, key) else { return nil }
        let ends = text.split(separator: ".", omittingEmptySubsequences: false)
        // The two dots leave one empty piece between the ends; decimal points may leave others beside it.
        guard let gap = ends.firstIndex(of: ""), gap > 0, gap < ends.count - 1 else {
            problems.add("'\(inner(key))' has to be two durations with '..' between them, such as 0.2s..30s, not '\(text)'", at: node)
            return nil
        }
        let low = duration(ends[..<gap].joined(separator: "."), range, at: node, key)
        let high = duration(ends[(gap + 1)...].joined(separator: "."), range, at: node, key)
        guard let low, let high else { return nil }
        guard low <= high else {
            problems.add("'\(inner(key))' is \(text); the first duration has to be the shorter one", at: node)
            return nil
        }
        return low...high
    }

    mutating func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _ type: Choice.Type) -> Choice?
    where Choice.RawValue == String {
        guard let node = value(key), let text = text(node, key) else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        problems.add("'\(inner(key))' cannot be '\(text)'\(Self.suggestion(text, Choice.allCases.map(\.rawValue)))", at: node)
        return nil
    }

    /// Notes every key that was not asked for.
    func finish() {
        for (key, _) in pairs {
            guard let name = key.scalar?.string else {
                problems.add("a key of '\(path)' has to be a word, not \(Self.kind(key))", at: key)
                continue
            }
            if known.contains(name) { continue }
            let place = path.isEmpty ? "at the top of the file" : "in '\(path)'"
            problems.add("unknown key '\(name)' \(place)\(Self.suggestion(name, known))", at: key)
        }
    }

    func text(_ node: Node, _ key: String) -> String? {
        guard case .scalar(let scalar) = node, !scalar.string.isEmpty else {
            problems.add("'\(inner(key))' has to be a text, not \(Self.kind(node))", at: node)
            return nil
        }
        return scalar.string
    }

    func inner(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    private func duration(_ text: String, _ range: ClosedRange<Duration>, at node: Node, _ key: String) -> Duration? {
        do throws(QuantityProblem) {
            let duration = try DurationText.parse(text)
            guard range.contains(duration) else {
                let (low, high) = (DurationText.format(range.lowerBound), DurationText.format(range.upperBound))
                problems.add("'\(inner(key))' is \(text); it has to be from \(low) to \(high)", at: node)
                return nil
            }
            return duration
        } catch {
            problems.add("'\(inner(key))': \(error.message)", at: node)
            return nil
        }
    }

    /// `; did you mean 'x'?`, or what is possible.
    static func suggestion(_ word: String, _ candidates: [String]) -> String {
        if let close = closest(to: word, among: candidates) { return "; did you mean '\(close)'?" }
        return candidates.isEmpty ? "" : "; possible: \(candidates.joined(separator: ", "))"
    }

    static func kind(_ node: Node) -> String {
        switch node {
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .alias: "an alias"
        case .scalar(let scalar): scalar.string.isEmpty ? "nothing" : "'\(scalar.string.prefix(64))'"
        }
    }
}
