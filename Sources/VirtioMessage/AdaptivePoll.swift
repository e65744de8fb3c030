/// How long to look at shared memory before going to sleep: the cap where that pays off, not at all where it does not.
///
/// A value without a clock, for both sides of the message path. All times in nanoseconds.
///
/// A sleep that was short says that looking would perhaps have been cheaper than a doorbell and a wake-up, so looking is tried. "Short" is up to
/// twice the cap: the wake-ups themselves are part of the sleep and would go away. Whether it pays off only a trial tells: when
/// several looks in a row were in vain, the next trial comes after so many sleeps, and after twice as many each time that it fails again.
/// An idle side neither sleeps briefly nor often, so it never looks.
public struct AdaptivePoll: Equatable, Sendable {
    /// Never polls longer than this; 0: never polls.
    public let cap: UInt64
    /// How long to poll now.
    public private(set) var budget: UInt64 = 0
    /// Looks in vain, one after the other.
    private var misses = 0
    /// Short sleeps to let pass before the next trial.
    private var pause = 0
    /// The pause after the next failed trial.
    private var nextPause = firstPause

    private static let longestTrial = 4
    private static let firstPause = 8
    private static let longestPause = 4096

    public init(cap: UInt64) {
        self.cap = cap
    }

    /// Polling found work.
    public mutating func pollFoundWork() {
        budget = cap
        misses = 0
        nextPause = Self.firstPause
    }

    /// Slept for so long before work came, after polling in vain if there was a budget.
    public mutating func slept(for duration: UInt64) {
        if budget > 0 {
            misses += 1
            guard misses >= Self.longestTrial || duration > 100 * cap else { return }
            budget = 0
            misses = 0
            pause = nextPause
            nextPause = min(nextPause * 2, Self.longestPause)
        } else if duration <= 2 * cap {
            if pause > 0 { pause -= 1 } else { budget = cap }
        }
    }
}
