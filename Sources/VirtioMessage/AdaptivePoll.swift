/// How long to look at shared memory before going to sleep: longer where that has paid off lately, not at all at idle.
///
/// A value without a clock, for both sides of the message path. All times in nanoseconds.
public struct AdaptivePoll: Equatable, Sendable {
    /// Never polls longer than this; 0: never polls.
    public let cap: UInt64
    /// How long to poll now.
    public private(set) var budget: UInt64 = 0
    private static let smallest: UInt64 = 2_000

    public init(cap: UInt64) {
        self.cap = cap
    }

    /// Polling found work: worth a little more next time.
    public mutating func pollFoundWork() {
        budget = min(cap, max(budget * 2, Self.smallest))
    }

    /// Polling found nothing within the budget, and the side slept for so long before work came.
    ///
    /// Work that came soon after would have been found by polling longer; after a long sleep polling was a waste.
    public mutating func slept(for duration: UInt64) {
        if duration <= cap {
            budget = min(cap, max(budget * 2, Self.smallest))
        } else if budget <= Self.smallest || duration > 100 * cap {
            budget = 0
        } else {
            budget /= 2
        }
    }
}
