import Foundation
import Yams

extension Configuration {
    /// Reads and checks a file. `models`, `nics`: the names of emulated disk controllers and NICs there are.
    public static func load(file: String, models: [String], nics: [String]) throws(ConfigurationError) -> Configuration {
        func fail(_ message: String) -> ConfigurationError {
            ConfigurationError(file: file, problems: [ConfigurationProblem(line: 0, column: 0, message: message)])
        }
        guard let data = FileManager.default.contents(atPath: file) else {
            let reason = FileManager.default.fileExists(atPath: file) ? "it cannot be read" : "there is no such file"
            throw fail("\(reason); name one with --file (droverd: --config), or start from one in Configs/")
        }
        guard data.count <= Self.sizeLimit else { throw fail("it is larger than \(Self.sizeLimit >> 10) KiB, so it is no configuration") }
        guard let text = String(data: data, encoding: .utf8) else { throw fail("it is not UTF-8 text") }
        return try Configuration(parsing: text, file: file, models: models, nics: nics)
    }

    static let sizeLimit = 1 << 20

    /// Checks `text`; `file` is for messages. Never traps, whatever the text is.
    public init(parsing text: String, file: String, models: [String], nics: [String]) throws(ConfigurationError) {
        if let problem = Self.refuse(text) { throw ConfigurationError(file: file, problems: [problem]) }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text, .default, .default, .utf8)
        } catch {
            throw ConfigurationError(file: file, problems: [Self.problem(from: error)])
        }
        let problems = Problems()
        guard let root else {
            problems.add("it is empty; it needs at least 'ddos:' with one DD/OS", at: nil)
            throw ConfigurationError(file: file, problems: problems.list)
        }
        let schema = Schema(problems: problems, models: models, nics: nics)
        ddos = schema.read(root)
        guard problems.list.isEmpty else {
            throw ConfigurationError(file: file, problems: problems.list.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
        }
    }

    /// What the YAML library must not see: nesting costs it stack, aliases can grow without bound.
    private static func refuse(_ text: String) -> ConfigurationProblem? {
        guard text.utf8.count <= sizeLimit else { return ConfigurationProblem(line: 0, column: 0, message: "it is too large") }
        var nesting = 0
        for (number, line) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            func problem(_ column: Int, _ message: String) -> ConfigurationProblem {
                ConfigurationProblem(line: number + 1, column: column + 1, message: message)
            }
            guard line.count <= 1000 else { return problem(1000, "the line is longer than 1000 bytes") }
            var previous = UInt8(ascii: " ")
            let bytes = Array(line)
            for (column, byte) in bytes.enumerated() {
                let startsToken = " \t[{,:-?".utf8.contains(previous)
                if byte == UInt8(ascii: "#"), startsToken { break }
                if byte == 0 { return problem(column, "it holds a zero byte, so it is no text") }
                if "[{".utf8.contains(byte) { nesting += 1 }
                if "]}".utf8.contains(byte) { nesting = max(0, nesting - 1) }
                guard nesting <= 32 else { return problem(column, "brackets are nested more than 32 deep") }
                let next = column + 1 < bytes.count ? bytes[column + 1] : UInt8(ascii: " ")
                if "&*".utf8.contains(byte), startsToken, next > UInt8(ascii: " ") {
                    return problem(column, "anchors and aliases (&name, *name) are not supported; put what DD/OSs share under 'defaults:'")
                }
                previous = byte
            }
        }
        return nil
    }

    private static func problem(from error: any Error) -> ConfigurationProblem {
        func at(_ mark: Mark, _ message: String) -> ConfigurationProblem {
            ConfigurationProblem(line: max(0, mark.line), column: max(0, mark.column), message: message)
        }
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            return at(mark, "this is not YAML: \(context.map { "\($0.text), " } ?? "")\(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            let keys = duplicates.map { "'\($0)'" }.joined(separator: ", ")
            return at(context.mark, "key \(keys) is given more than once in the same mapping; keep one")
        case .reader(let problem, _, _, _):
            return ConfigurationProblem(line: 0, column: 0, message: "it cannot be read as text: \(problem)")
        default:
            return ConfigurationProblem(line: 0, column: 0, message: "it cannot be read as YAML")
        }
    }
}
