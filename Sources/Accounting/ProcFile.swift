import Foundation
import Glibc

/// Files of `/proc`, which have size 0 and must be read at once.
enum ProcFile {
    static let ticksPerSecond = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))

    struct Stat: Equatable {
        var command: String
        var state: Character
        /// User and system.
        var cpuTicks: UInt64
        var startTime: UInt64
    }

    static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = Glibc.read(file, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }

    static func stat(_ path: String) -> Stat? { read(path).flatMap(stat(parsing:)) }

    /// The command is in parentheses and may hold anything, parentheses and spaces included.
    static func stat(parsing text: String) -> Stat? {
        guard let opening = text.firstIndex(of: "("), let closing = text.lastIndex(of: ")"), opening < closing else { return nil }
        let fields = text[text.index(after: closing)...].split(separator: " ")
        // Field 3, the state, is the first after the command.
        guard fields.count > 19, let state = fields[0].first, let user = UInt64(fields[11]), let system = UInt64(fields[12]),
            let start = UInt64(fields[19])
        else { return nil }
        return Stat(command: String(text[text.index(after: opening)..<closing]), state: state, cpuTicks: user &+ system, startTime: start)
    }

    /// Seconds.
    static func schedstat(_ path: String) -> Double? {
        guard let first = read(path)?.split(separator: " ").first, let nanoseconds = UInt64(first) else { return nil }
        return Double(nanoseconds) / 1e9
    }
}
