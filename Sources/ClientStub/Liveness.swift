import StubControl
public import VirtioMessage

/// Whether the DD/OS still answers: PING when it was silent, and a deadline for the answer.
public struct Liveness: Sendable {
    /// When something was last heard of it. Nanoseconds of the loop's clock, as all times here.
    public private(set) var lastHeard: UInt64 = 0
    /// A PING is out: since when, with which token and data.
    private(set) var asked: (at: UInt64, token: UInt16, data: UInt32)?
    private var count: UInt32 = 0

    public init() {}

    public mutating func begin(at now: UInt64) {
        lastHeard = now
        asked = nil
    }

    public mutating func heard(at now: UInt64) { lastHeard = now }

    /// The data of the next PING.
    mutating func nextData() -> UInt32 {
        count &+= 1
        return count
    }

    mutating func sent(token: UInt16, data: UInt32, at now: UInt64) { asked = (now, token, data) }

    /// Whether this answers the PING that is out; one that nobody asked for does not.
    public mutating func answered(token: UInt16, data: UInt32, at now: UInt64) -> Bool {
        guard let asked, asked.token == token, asked.data == data else { return false }
        self.asked = nil
        lastHeard = now
        return true
    }

    /// The next moment at which something is to be done: a PING, or, while one is out, giving up. What is heard meanwhile counts: who completes
    /// requests lives, and on a busy machine may be late with the answer.
    public func deadline(interval: UInt64, timeout: UInt64) -> UInt64 {
        let (since, wait) = asked.map { (max($0.at, lastHeard), timeout) } ?? (lastHeard, interval)
        return BlockEngine.later(since, wait)
    }

    /// Sends a PING if it is time.
    /// - Throws: the one before went unanswered, or the server stub does not read what it is sent.
    public mutating func check(_ outbox: inout MessageOutbox, interval: UInt64, timeout: UInt64, now: UInt64) throws(SessionEnd) {
        guard now >= deadline(interval: interval, timeout: timeout) else { return }
        guard asked == nil else { throw SessionEnd(.pingTimeout, "no answer to a PING within \(timeout / 1_000_000) ms") }
        let data = nextData()
        do {
            sent(token: try outbox.ping(data), data: data, at: now)
        } catch { throw .violation("the server stub does not read its messages") }
    }
}
