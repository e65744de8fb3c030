import StubControl
public import VirtioMessage

extension BlockEngine {
    /// When ``checkDeadlines(_:now:)`` has something to do next, in nanoseconds of the loop's clock; `.max`: never.
    public var nextDeadline: UInt64 {
        var next = UInt64.max
        if let handshake { next = min(handshake.deadline, handshake.stepDeadline) }
        if state == .ready {
            next = min(next, liveness.deadline(interval: pingInterval, timeout: configuration.pingTimeout))
            if let oldest = requests.firstInFlight { next = min(next, Self.later(requests[oldest].sentAt, configuration.requestDeadline)) }
        } else if configuration.holdLimit != .max, let oldest = requests.oldestHeld() {
            next = min(next, Self.later(max(requests[oldest].acceptedAt, downSince), configuration.holdLimit))
        }
        return next
    }

    /// Sends a PING if it is time; fails requests that were held for too long.
    /// - Throws: what the DD/OS has missed.
    public mutating func checkDeadlines(_ outbox: inout MessageOutbox, now: UInt64) throws(SessionEnd) {
        self.now = now
        if let handshake, now >= min(handshake.deadline, handshake.stepDeadline) {
            throw SessionEnd(.handshakeTimeout, "no answer while \(handshake.step.description)")
        }
        guard state == .ready else { return }
        if let oldest = requests.firstInFlight, now >= Self.later(requests[oldest].sentAt, configuration.requestDeadline) {
            let request = requests[oldest]
            let seconds = (now - request.sentAt) / 1_000_000_000
            throw SessionEnd(
                .requestDeadline,
                "a \(request.flushing ? .flush : request.operation) at byte \(request.offset) of \(exports[Int(request.export)].name)"
                    + " was not finished within \(seconds) s")
        }
        try liveness.check(&outbox, interval: pingInterval, timeout: configuration.pingTimeout, now: now)
    }

    /// Fails what was held for longer than the limit, while there is no session.
    public mutating func failOverdueHeld(now: UInt64) {
        self.now = now
        guard state != .ready, configuration.holdLimit != .max else { return }
        while let index = requests.oldestHeld(),
            now >= Self.later(max(requests[index].acceptedAt, downSince), configuration.holdLimit)
        { finish(index, .ioError) }
    }

    /// A PING wakes the guest, which is most of what a DD/OS at rest costs; nobody waits for one that has nothing to do.
    private var pingInterval: UInt64 {
        requests.firstInFlight == nil ? configuration.restingPingInterval : configuration.pingInterval
    }

    /// `time + duration`, or the end of time.
    static func later(_ time: UInt64, _ duration: UInt64) -> UInt64 {
        let (sum, overflow) = time.addingReportingOverflow(duration)
        return overflow ? .max : sum
    }
}
