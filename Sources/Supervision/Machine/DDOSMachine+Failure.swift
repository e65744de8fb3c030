import ControlModel

extension DDOSMachine {
    mutating func failed(_ generation: UInt64, _ cause: FailureCause, _ reason: String, _ now: Moment, _ effects: inout [Effect]) {
        guard generation == record.generation else { return }
        switch state {
        case .starting(.virtualMachine), .booting, .ready: fail(cause, reason, now, &effects)
        // Expected, or already dealt with.
        case .stopped, .preparing, .starting, .fencing, .backingOff, .quarantined, .stopping: break
        }
    }

    mutating func stubLost(_ reason: String, _ now: Moment, _ effects: inout [Effect]) {
        switch state {
        case .stopped, .stopping: return
        default: effects.append(.emit(Report(.stubLost, "client stub lost: \(reason)", generation: record.generation)))
        }
        switch state {
        case .starting(.session), .starting(.virtualMachine), .booting, .ready:
            fail(.stubGone, "the client stub is gone: \(reason)", now, &effects)
        // A new one at once, so that clients can reconnect and wait, or get their errors.
        case .backingOff, .quarantined: effects.append(.startStub)
        // The start, which comes or is under way, sees to it.
        case .stopped, .preparing, .starting(.stub), .fencing, .stopping: break
        }
    }

    /// Ends a life because of a failure.
    mutating func fail(_ cause: FailureCause, _ reason: String, _ now: Moment, _ effects: inout [Effect]) {
        let reason = [reason, state == .booting ? bootHint : nil].compactMap(\.self).joined(separator: "; ")
        let failure = MachineRecord.Failure(at: now, generation: record.generation, cause: cause, reason: reason)
        record.failures.append(failure)
        record.failuresInARow += 1
        record.restarts += 1
        record.readySince = nil
        // A failure on the way to recovery belongs to the outage that goes on.
        if record.down == nil { record.down = MachineRecord.Outage(failure: failure) }
        state = .fencing(.recover)
        cancelTimer()
        effects.append(.emit(Report(.failed, reason, generation: record.generation, cause: cause)))
        effects.append(.fence(generation: record.generation, reason: reason))
    }

    mutating func fenced(_ generation: UInt64, _ now: Moment, _ effects: inout [Effect]) {
        guard generation == record.generation else { return }
        switch state {
        case .stopping(.virtualMachine, let thenStart):
            state = .stopped
            record.readySince = nil
            cancelTimer()
            effects.append(.emit(Report(.stopped, "stopped")))
            if thenStart { startAnew(&effects) }
        case .fencing(let next):
            let sinceFailure = record.down.map { now.monotonic - $0.failure.at.monotonic } ?? 0
            if record.down?.fencedSeconds == nil { record.down?.fencedSeconds = sinceFailure }
            switch next {
            case .relaunch: prepare(&effects)
            case .stop:
                state = .stopping(.stub, thenStart: false)
                effects.append(.stopStub)
            case .recover:
                let text = record.down == nil ? "the old VM is gone" : "the old VM is gone, \(Self.text(sinceFailure)) after the failure"
                effects.append(.emit(Report(.fenced, text, generation: generation)))
                recover(now, &effects)
            }
        default: break
        }
    }

    /// A start that someone asked for: what was before no longer counts.
    mutating func startAnew(_ effects: inout [Effect]) {
        record.failures = []
        record.failuresInARow = 0
        prepare(&effects)
    }

    /// The restart policy.
    private mutating func recover(_ now: Moment, _ effects: inout [Effect]) {
        record.failures.removeAll { now.monotonic - $0.at.monotonic > policy.quarantineWindow }
        if let limit = policy.quarantineFailures, record.failures.count >= limit {
            state = .quarantined
            record.intent = .quarantined
            cancelTimer()
            effects.append(.emit(Report(.quarantined, quarantineReason, generation: record.generation)))
            if policy.failWhenQuarantined { effects.append(.failRequests(reason: quarantineReason)) }
            return
        }
        guard record.failuresInARow > 1 else { return prepare(&effects) }
        let wait = Self.backoff(minimum: policy.backoffMinimum, maximum: policy.backoffMaximum, failuresInARow: record.failuresInARow)
        record.down?.backoffSeconds += wait
        state = .backingOff
        setTimer(wait, &effects)
        let text = "\(record.failuresInARow) failures in a row: waiting \(Self.text(wait)) before the next start"
        effects.append(.emit(Report(.backingOff, text, generation: record.generation)))
    }

    /// Seconds: `minimum` before the second restart in a row, then twice as long each time, up to `maximum`.
    static func backoff(minimum: Double, maximum: Double, failuresInARow: Int) -> Double {
        guard failuresInARow > 1 else { return 0 }
        var wait = minimum
        for _ in 2..<min(failuresInARow, 64) where wait < maximum { wait *= 2 }
        return min(wait, maximum)
    }

    var quarantineReason: String {
        let last = record.failures.last.map { "; the last one: \($0.reason)" } ?? ""
        let failures = record.failures.count == 1 ? "1 failure" : "\(record.failures.count) failures"
        return "quarantined after \(failures) within \(Self.span(policy.quarantineWindow))\(last)"
    }

    mutating func timerFired(_ now: Moment, _ effects: inout [Effect]) {
        switch state {
        case .booting: fail(.bootDeadline, "no session \(Self.span(policy.bootDeadline)) after the VM's start", now, &effects)
        case .ready: record.failuresInARow = 0
        case .backingOff: prepare(&effects)
        case .fencing, .stopping(.virtualMachine, _): effects.append(.fence(generation: record.generation, reason: "trying again"))
        case .stopped, .preparing, .starting, .quarantined, .stopping: break
        }
    }

    /// A new supervisor takes over. `record` is the old one's.
    mutating func adopt(_ found: Found, _ now: Moment, _ effects: inout [Effect]) {
        guard state == .stopped else { return }
        switch (record.intent, found) {
        case (.run, .nothing):
            guard record.generation > 0 else { return prepare(&effects) }
            resume(.diedUnwatched, "VM and client stub were gone when the supervisor started", now, &effects)
        case (.run, .ready):
            state = .ready
            if record.readySince == nil { record.readySince = now }
            setTimer(policy.stableAfter, &effects)
            // It recovered between the two supervisors; when exactly, nobody saw.
            if let down = record.down { record.lostSeconds += max(0, now.monotonic - down.failure.at.monotonic) }
            record.down = nil
            effects.append(.emit(Report(.adopted, "found running and adopted, life \(record.generation)", generation: record.generation)))
        case (.run, .booting):
            state = .booting
            setTimer(policy.bootDeadline, &effects)
            effects.append(.emit(Report(.adopted, "found booting and adopted, life \(record.generation)", generation: record.generation)))
        case (.run, .broken(let cause, let reason)): resume(cause, reason, now, &effects)
        case (.stopped, .nothing): break
        // Stopped on request, but something is left: the stop was interrupted.
        case (.stopped, _): stopLeftovers(&effects)
        case (.quarantined, _):
            state = .quarantined
            effects.append(.emit(Report(.quarantined, "still \(quarantineReason)", generation: record.generation)))
            effects.append(.fence(generation: record.generation, reason: "quarantined"))
            effects.append(.startStub)
        }
    }

    /// It lived once. Fenced all the same, for a VM may have gone unseen. If it was ready, its end is a failure; if not, a
    /// start or a recovery was under way, and goes on.
    private mutating func resume(_ cause: FailureCause, _ reason: String, _ now: Moment, _ effects: inout [Effect]) {
        if record.readySince != nil { return fail(cause, reason, now, &effects) }
        state = .fencing(.relaunch)
        effects.append(.fence(generation: record.generation, reason: reason))
    }

    private mutating func stopLeftovers(_ effects: inout [Effect]) {
        state = .stopping(.stub, thenStart: false)
        effects.append(.stopStub)
    }
}
