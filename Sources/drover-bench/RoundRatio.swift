/// One figure over another, taken within each round, so that what changes slowly on the machine changes both.
struct RoundRatio: Encodable {
    let lowest: Double
    let median: Double
    let highest: Double

    /// Nil: there is nothing to compare.
    init?(_ own: [Double], over others: [Double]) {
        let ratios = zip(own, others).compactMap { $1 > 0 ? $0 / $1 : nil }
        guard let lowest = ratios.min(), let highest = ratios.max() else { return nil }
        self.lowest = lowest
        self.highest = highest
        median = ratios.median
    }
}

extension [Double] {
    /// 0 of nothing.
    var median: Double {
        guard !isEmpty else { return 0 }
        let sorted = sorted()
        return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
    }
}
