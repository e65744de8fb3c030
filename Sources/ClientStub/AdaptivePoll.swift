/// How long to look at the rings before sleeping: a doorbell costs both sides a system call and a wake-up.
///
/// Starts at nothing. A sleep that turns out short says that looking would have been cheaper, and raises the budget; looking in vain
/// halves it, down to nothing again: an idle stub never spins.
struct AdaptivePoll {
    /// Nanoseconds; 0 switches polling off.
    let limit: UInt64
    /// Nanoseconds to look for before the next sleep.
    private(set) var budget: UInt64 = 0
    private static let first: UInt64 = 4_000

    init(limit: UInt64) { self.limit = limit }

    /// Looking found something.
    mutating func found() { grow() }

    /// Looking was in vain.
    mutating func missed() { budget = budget / 2 < Self.first ? 0 : budget / 2 }

    /// Slept that long, with requests in flight.
    mutating func slept(_ nanoseconds: UInt64) {
        if nanoseconds <= limit { grow() }
    }

    private mutating func grow() { budget = min(limit, max(Self.first, budget * 2)) }
}
