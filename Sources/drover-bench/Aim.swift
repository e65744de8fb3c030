import Foundation

/// What Drover promises of a figure, and what the figure is.
struct Aim: Encodable {
    let subject: String
    let figure: Double
    /// In which unit both are; empty for a ratio.
    let unit: String
    let limit: Double
    /// Whether the limit is the least that is promised; else the most.
    let isLeast: Bool
    let isMet: Bool

    private init(_ subject: String, _ figure: Double, _ unit: String, _ limit: Double, isLeast: Bool) {
        (self.subject, self.figure, self.unit, self.limit, self.isLeast) = (subject, figure, unit, limit, isLeast)
        isMet = isLeast ? figure >= limit : figure <= limit
    }

    static func atMost(_ limit: Double, unit: String = "", _ subject: String, _ figure: Double) -> Aim {
        Aim(subject, figure, unit, limit, isLeast: false)
    }

    static func atLeast(_ limit: Double, unit: String = "", _ subject: String, _ figure: Double) -> Aim {
        Aim(subject, figure, unit, limit, isLeast: true)
    }

    private var text: String {
        func words(_ value: Double) -> String { String(format: "%.4g", value) + (unit.isEmpty ? "" : " " + unit) }
        return "  \(isMet ? "met   " : "MISSED")  \(subject): \(words(figure)), \(isLeast ? "at least" : "at most") \(words(limit))"
    }

    static func table(_ aims: [Aim]) -> String {
        (["Aims, of an idle machine:"] + aims.map(\.text)).joined(separator: "\n")
    }
}
