/// Everything that is wrong with a configuration file, in the file's order. Never empty.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    public var file: String
    public var problems: [ConfigurationProblem]

    public init(file: String, problems: [ConfigurationProblem]) {
        self.file = file
        self.problems = problems
    }

    /// One line a problem: `FILE:LINE:COLUMN: what is wrong`.
    public var description: String {
        problems.map { problem in
            problem.line == 0 ? "\(file): \(problem.message)" : "\(file):\(problem.line):\(problem.column): \(problem.message)"
        }.joined(separator: "\n")
    }
}

/// One thing that is wrong, and where.
public struct ConfigurationProblem: Sendable, Equatable {
    /// From 1; 0 when the problem is with the file as a whole.
    public var line: Int
    /// From 1, in characters.
    public var column: Int
    /// What is wrong and what to do, without the place.
    public var message: String

    public init(line: Int, column: Int, message: String) {
        self.line = line
        self.column = column
        self.message = message
    }
}

/// The candidate that a person may have meant: at most a third of its characters differ.
func closest(to word: String, among candidates: [String]) -> String? {
    // Long words are no typing errors of known ones, and the distance costs their product.
    guard word.count <= 64 else { return nil }
    let ranked = candidates.map { ($0, editDistance(word.lowercased(), $0.lowercased())) }.filter { $0.1 <= max(1, $0.0.count / 3) }
    return ranked.min { $0.1 < $1.1 }?.0
}

/// Optimal string alignment: insertions, deletions, substitutions, and neighbours swapped.
private func editDistance(_ left: String, _ right: String) -> Int {
    let a = Array(left)
    let b = Array(right)
    var before: [Int] = []
    var previous = Array(0...b.count)
    for i in a.indices {
        var current = [i + 1]
        for j in b.indices {
            var best = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, before[j - 1] + 1) }
            current.append(best)
        }
        before = previous
        previous = current
    }
    return previous[b.count]
}
