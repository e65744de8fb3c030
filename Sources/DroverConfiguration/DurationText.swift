/// Durations as people write them: `0.2s`, `2min`.
public enum DurationText {
    static let units: [(name: String, factor: Int64)] = [
        ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000), ("h", 3_600_000_000_000), ("d", 86_400_000_000_000),
    ]

    static func parse(_ text: String) throws(QuantityProblem) -> Duration {
        .nanoseconds(try Quantity(text, units: units, example: "0.2s or 2min").value)
    }

    /// The shortest exact form, `200ms`, `1.5s` and `2min` for instance.
    public static func format(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return "\(seconds)s" }
        let nanoseconds = whole + attoseconds / 1_000_000_000
        for (name, factor) in units.reversed() where nanoseconds != 0 && nanoseconds % factor == 0 {
            return "\(nanoseconds / factor)\(name)"
        }
        return "\(Double(nanoseconds) / 1_000_000_000)s"
    }
}

extension Duration {
    /// As a floating-point number of seconds.
    public var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
