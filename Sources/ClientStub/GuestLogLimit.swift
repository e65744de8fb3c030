/// Lets a guest's log lines through at a rate that people can read, and counts the rest: a hostile guest writes as fast as it can, for
/// ever. A token bucket.
public struct GuestLogLimit: Sendable {
    /// Lines that may come at once.
    static let burst: UInt64 = 64
    /// Nanoseconds for which a further one is allowed: 20 in a second.
    static let interval: UInt64 = 50_000_000

    /// The moment at which the bucket is full again. Nanoseconds of the loop's clock.
    private var fullAt: UInt64 = 0
    private var leftOut: UInt64 = 0

    public init() {}

    /// Whether a line may pass now; one that may not is counted.
    public mutating func admits(at now: UInt64) -> Bool {
        let due = max(fullAt, now) + Self.interval
        guard due <= now + Self.burst * Self.interval else {
            leftOut += 1
            return false
        }
        fullAt = due
        return true
    }

    /// What to say of the lines that were left out since this was last asked; nil when there were none. To be said before the next
    /// line that passes, and at the end of the session.
    public mutating func omission() -> String? {
        guard leftOut > 0 else { return nil }
        defer { leftOut = 0 }
        return "\(leftOut) line\(leftOut == 1 ? "" : "s") of the guest's log left out: it writes too fast"
    }
}
