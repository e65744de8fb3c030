import ControlModel

extension DDOSMachine {
    /// Takes one input at one moment and says what to do, in order. Inputs that no longer fit, such as the answer of an
    /// effect that was overtaken, change nothing.
    public mutating func handle(_ input: Input, at now: Moment) -> [Effect] {
        var effects: [Effect] = []
        if record.firstStarted == nil { record.firstStarted = now.monotonic }
        switch input {
        case .startRequested: start(&effects)
        case .stopRequested: stop(&effects)
        case .restartRequested: restart(&effects)
        case .adopt(let found): adopt(found, now, &effects)
        case .stubLost(let reason): stubLost(reason, now, &effects)
        case .failed(let generation, let cause, let reason): failed(generation, cause, reason, now, &effects)
        case .fenced(let generation): fenced(generation, now, &effects)
        case .timerFired(let number): if number == timer { timerFired(now, &effects) }

        case .imageReady:
            guard state == .preparing else { break }
            state = .starting(.stub)
            effects.append(.startStub)
        case .stubReady: stubReady(&effects)
        case .sessionOpened(let generation):
            guard state == .starting(.session), generation == record.generation else { break }
            state = .starting(.virtualMachine)
            effects.append(.startVirtualMachine(generation: generation))
        case .virtualMachineStarted(let generation):
            guard state == .starting(.virtualMachine), generation == record.generation else { break }
            state = .booting
            setTimer(policy.bootDeadline, &effects)
            if let down = record.down { record.down?.startedSeconds = now.monotonic - down.failure.at.monotonic }
            effects.append(.emit(Report(.started, "VM started, life \(generation)", generation: generation)))
        case .startFailed(let generation, let reason):
            guard generation == record.generation else { break }
            switch state {
            case .preparing, .starting: fail(.startFailed, reason, now, &effects)
            default: break
            }
        case .sessionReady(let generation, let replayed): sessionReady(generation, replayed, now, &effects)
        case .stubStopped:
            guard case .stopping(.stub, let thenStart) = state else { break }
            state = .stopping(.virtualMachine, thenStart: thenStart)
            effects.append(.fence(generation: record.generation, reason: "stop requested"))
        case .fenceFailed(let generation, let reason):
            guard generation == record.generation, isFencing else { break }
            effects.append(.emit(Report(.warning, "the old VM is not gone yet, trying again: \(reason)", generation: generation)))
            setTimer(policy.fenceRetry, &effects)
        }
        return effects
    }

    /// The VM's destruction is under way.
    private var isFencing: Bool {
        switch state {
        case .fencing, .stopping(.virtualMachine, _): true
        default: false
        }
    }

    private mutating func start(_ effects: inout [Effect]) {
        switch state {
        case .stopped, .quarantined:
            if state == .quarantined { record.down = nil }
            startAnew(&effects)
        case .backingOff: prepare(&effects)
        case .stopping(let step, _): state = .stopping(step, thenStart: true)
        case .fencing(.stop): state = .fencing(.relaunch)
        case .preparing, .starting, .booting, .ready, .fencing: break
        }
    }

    private mutating func stop(_ effects: inout [Effect]) {
        record.intent = .stopped
        record.down = nil
        switch state {
        case .stopped: break
        case .stopping(let step, _): state = .stopping(step, thenStart: false)
        case .fencing: state = .fencing(.stop)
        case .preparing, .starting, .booting, .ready, .backingOff, .quarantined: stopStub(thenStart: false, &effects)
        }
    }

    private mutating func stopStub(thenStart: Bool, _ effects: inout [Effect]) {
        state = .stopping(.stub, thenStart: thenStart)
        cancelTimer()
        effects.append(.stopStub)
    }

    private mutating func restart(_ effects: inout [Effect]) {
        switch state {
        case .stopped, .quarantined, .backingOff, .stopping: start(&effects)
        case .fencing: state = .fencing(.relaunch)
        case .preparing: break
        case .starting, .booting, .ready:
            state = .fencing(.relaunch)
            record.readySince = nil
            cancelTimer()
            effects.append(.fence(generation: record.generation, reason: "restart requested"))
        }
    }

    /// The beginning of a life.
    mutating func prepare(_ effects: inout [Effect]) {
        record.intent = .run
        record.generation += 1
        record.readySince = nil
        state = .preparing
        cancelTimer()
        effects.append(.prepareImage)
    }

    private mutating func stubReady(_ effects: inout [Effect]) {
        switch state {
        case .starting(.stub):
            state = .starting(.session)
            effects.append(.openSession(generation: record.generation))
        case .quarantined where policy.failWhenQuarantined:
            effects.append(.failRequests(reason: quarantineReason))
        default: break
        }
    }

    private mutating func sessionReady(_ generation: UInt64, _ replayed: Int, _ now: Moment, _ effects: inout [Effect]) {
        guard generation == record.generation else { return }
        switch state {
        // The session may be quicker than the answer of whoever started the VM.
        case .booting, .starting(.virtualMachine): break
        default: return
        }
        state = .ready
        record.readySince = now
        setTimer(policy.stableAfter, &effects)
        guard let down = record.down else {
            effects.append(.emit(Report(.ready, "ready, life \(generation)", generation: generation)))
            return
        }
        let total = now.monotonic - down.failure.at.monotonic
        let recovery = Recovery(
            noticed: down.failure.at.wall, cause: down.failure.cause, reason: down.failure.reason, generation: down.failure.generation,
            fencedSeconds: down.fencedSeconds ?? 0, backoffSeconds: down.backoffSeconds, startedSeconds: down.startedSeconds ?? total,
            readySeconds: total, replayed: replayed)
        record.down = nil
        record.lostSeconds += total
        record.recoveries.append(recovery)
        record.recoveries = record.recoveries.suffix(32)
        let text = "recovered in \(Self.text(total)): \(replayed) request\(replayed == 1 ? "" : "s") replayed"
        effects.append(.emit(Report(.recovered, text, generation: generation, cause: recovery.cause, recovery: recovery)))
    }

    mutating func setTimer(_ seconds: Double, _ effects: inout [Effect]) {
        timer += 1
        effects.append(.setTimer(timer, seconds: seconds))
    }

    /// The old timer may still fire; its number no longer counts.
    mutating func cancelTimer() { timer += 1 }

    /// A setting: `2 min`, `90 s`, `0.50 s`.
    static func span(_ seconds: Double) -> String {
        guard seconds == seconds.rounded(), seconds < 1e9 else { return text(seconds) }
        let whole = Int(seconds)
        return whole > 0 && whole % 60 == 0 ? "\(whole / 60) min" : "\(whole) s"
    }

    /// Something measured: `0.24 s`.
    static func text(_ seconds: Double) -> String {
        let hundredths = Int((seconds * 100).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) s"
    }
}
