import Foundation
import Testing

/// The real programs as separate processes, real kernels with unmodified drivers under QEMU, real clients. One test at a time: each
/// starts virtual machines.
@Suite(.serialized) struct EndToEnd {}

/// Why a test could not go on.
struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// Says what a test does, with the seconds since the first line.
func say(_ text: String) {
    let seconds = firstLine.duration(to: .now) / .seconds(1)
    print(String(format: "%8.2f s  ", seconds) + text)
    fflush(nil)
}

private let firstLine = ContinuousClock.now

/// Asks again and again until there is an answer.
func eventually<Value>(
    _ what: String, within limit: Duration, isolation: isolated (any Actor)? = #isolation, _ answer: () async throws -> Value?
) async throws -> Value {
    let deadline = ContinuousClock.now + limit
    while true {
        if let value = try await answer() { return value }
        guard ContinuousClock.now < deadline else { throw Failure("not within \(limit): \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}

/// `340 ms`, `3.2 s`.
func text(seconds: Double) -> String {
    seconds < 1 ? String(format: "%.0f ms", seconds * 1000) : String(format: "%.1f s", seconds)
}

/// Columns as wide as their widest cell; the first row is the header.
func table(_ rows: [[String]]) -> String {
    let widths = rows.reduce(into: [Int]()) { widths, row in
        for (index, cell) in row.enumerated() {
            if index == widths.count { widths.append(0) }
            widths[index] = max(widths[index], cell.count)
        }
    }
    return rows.map { row in
        zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: "  ")
    }.joined(separator: "\n")
}
