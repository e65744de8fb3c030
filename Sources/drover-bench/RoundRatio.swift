import Foundation

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

    /// The median, and how far the rounds are apart.
    var text: String { String(format: "%.2f (%.2f–%.2f)", median, lowest, highest) }
}

/// The median of many ratios of neighbours in time, and the range in which it would lie in 95 of 100 repetitions: between two of the ratios
/// themselves, by their ranks, whatever their distribution is.
struct PairedRatio: Encodable {
    let pairs: Int
    let low: Double
    let median: Double
    let high: Double

    /// Nil: too few pairs for any range.
    init?(_ own: [Double], over others: [Double]) {
        let ratios = zip(own, others).compactMap { $1 > 0 ? $0 / $1 : nil }.sorted()
        guard ratios.count >= 10 else { return nil }
        // Of ranks that count from 1: n/2 ∓ 1.96 √n / 2 (and 1 more above), outwards.
        let (half, spread) = (Double(ratios.count) / 2, 0.98 * Double(ratios.count).squareRoot())
        pairs = ratios.count
        low = ratios[max(0, Int((half - spread).rounded(.down)) - 1)]
        high = ratios[min(ratios.count - 1, Int((half + spread).rounded(.up)))]
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
