public import ClientStub
import StubControl
public import VirtioMessage
import VirtioNet

/// Something to do with control commands, one after the other.
struct InterfaceJob {
    enum Kind: Equatable {
        /// A new life: the remembered settings, then the description.
        case settle
        /// The configuration changed.
        case refresh
        case describe
        case statistics
        case set(StubInterfaceSettings)
    }

    var kind: Kind
    /// Who waits for it.
    var ticket: UInt64?
    /// Commands before the last one, which reads the result.
    var steps: [InterfaceStep]
    var done = 0
    /// Steps from here on undo what was done: the change was refused, for this reason.
    var refusal: String?
    var statistics: [StubStatistic] = []

    init(_ kind: Kind, ticket: UInt64? = nil, steps: [InterfaceStep] = []) {
        self.kind = kind
        self.ticket = ticket
        self.steps = steps
    }

    /// The command to send now.
    var current: NetControlCommand {
        if done < steps.count { return steps[done].command }
        return kind == .statistics ? .statistics(first: UInt32(statistics.count)) : .describe
    }

    /// What a person calls it.
    var currentName: String {
        if done < steps.count { return "setting \(steps[done].name)" }
        return kind == .statistics ? "reading the driver's counters" : "describing the interface"
    }
}

/// A control command that is out.
struct SentCommand {
    let token: UInt16
    var deadline: UInt64
    /// Something else has to be done first: its answer is of no use.
    var isOvertaken = false
}

extension NetworkSession {
    static var mostEvents: Int { 256 }

    /// Sends the next control command, if none is out; with the last step of a change the question for what came of it, so that both take
    /// one way there and one back.
    public mutating func issue(_ outbox: inout MessageOutbox) throws(SessionEnd) {
        guard commands.isEmpty, isConnected, let job = jobs.first else { return }
        try send(job.current, &outbox)
        if job.done == job.steps.count - 1 { try send(.describe, &outbox) }
    }

    private mutating func send(_ command: NetControlCommand, _ outbox: inout MessageOutbox) throws(SessionEnd) {
        do {
            let token = try outbox.netControl(device: device, command: command.encoded().span)
            commands.append(SentCommand(token: token, deadline: now &+ configuration.commandTimeout))
        } catch { throw .violation("the server stub does not read its messages") }
    }

    public mutating func received(
        _ message: DeviceMessage, _ header: MessageHeader, _ bytes: Span<UInt8>, _ outbox: inout MessageOutbox, now: UInt64
    ) throws(SessionEnd) {
        self.now = now
        guard isConnected else { return }
        liveness.heard(at: now)
        switch message {
        case .pool: try firstMessageArrived(&outbox)
        case .ping(let data):
            do { try outbox.pong(token: header.token, data) } catch { throw .violation("the server stub does not read its messages") }
        case .pong(let data):
            guard liveness.answered(token: header.token, data: data, at: now) else {
                throw .violation("an answer to a PING that nobody sent")
            }
        case .log(let text):
            guard logLimit.admits(at: now) else { break }
            if let omission = logLimit.omission() { events.append(.guestLog(omission)) }
            events.append(.guestLog(GuestText.printable(bytes, text)))
        case .eventUsed: throw .violation("a doorbell of a device that has no queues here")
        case .eventConfig(_, _, let offset, let data):
            guard header.device == device, offset == 0 else { throw .violation("news of a configuration that does not exist") }
            try configurationChanged(decodedConfiguration(bytes, data))
        case .eventDevice(_, let state):
            if state == .removed { throw .violation("the network interface was removed") }
        case .netControl(let number, let answer):
            guard number == device, let command = commands.first, header.token == command.token else {
                throw .violation("an answer to a control command that nobody sent")
            }
            commands.removeFirst()
            if !commands.isEmpty { commands[0].deadline = now &+ configuration.commandTimeout }
            let part = bytes.extracting(answer.offset..<min(answer.offset + answer.count, bytes.count))
            do throws(NetControlError) {
                let decoded = try NetControlAnswer(untrusted: part)
                if !command.isOvertaken { try take(decoded) }
            } catch { throw .violation("an answer to a control command that cannot be") }
        default:
            guard handshake != nil else { throw .violation("an answer that nobody asked for (message \(header.id))") }
            try advance(message, header, bytes, &outbox)
        }
        try issue(&outbox)
    }

    /// The link, or the MTU, changed in the guest: the carrier follows at once, the rest is asked for.
    private mutating func configurationChanged(_ new: VirtioNetConfiguration) {
        guard handshake == nil || isSettled || handshake?.step == .settling else { return }
        if let known = interface, state == .ready {
            // A change of this side's own is told twice: by its answer, and so.
            if known.shows(new) { return }
            if known.hasCarrier != new.hasLink {
                interface?.hasCarrier = new.hasLink
                changeIsNews = true
            }
        }
        if !jobs.dropFirst().contains(where: { $0.kind == .refresh }) { jobs.append(InterfaceJob(.refresh)) }
    }

    /// The answer to the first job's command.
    private mutating func take(_ answer: NetControlAnswer) throws(NetControlError) {
        guard !jobs.isEmpty else { return }
        switch answer {
        case .done(let result):
            if jobs[0].done < jobs[0].steps.count {
                jobs[0].done += 1
            } else if jobs[0].kind == .statistics {
                try takeStatistics(result)
            } else {
                describe(try NetDescription(untrusted: result.span))
                finish()
            }
        case .refused(let code, let reason):
            refused(reason.isEmpty ? "error \(code)" : reason)
        }
    }

    private mutating func takeStatistics(_ result: [UInt8]) throws(NetControlError) {
        let page = try NetStatisticsPage(untrusted: result.span)
        guard page.first == UInt32(jobs[0].statistics.count) else { throw .invalid }
        jobs[0].statistics += page.counters.map { StubStatistic(name: $0.name, value: $0.value) }
        guard jobs[0].statistics.count >= Int(page.total) else { return }
        let job = jobs.removeFirst()
        if let ticket = job.ticket { answers.append((ticket, .statistics(job.statistics))) }
    }

    /// A step was refused. A new life goes on without it, a change is undone.
    private mutating func refused(_ reason: String) {
        let job = jobs[0]
        if job.done >= job.steps.count {
            // Not even a description: there is nothing to say, and for a new life nothing to be ready with.
            jobs.removeFirst()
            if let ticket = job.ticket { answers.append((ticket, .refused("the DD/OS cannot say: \(reason)"))) }
            if job.kind == .settle, events.count < Self.mostEvents {
                events.append(.guestLog("the interface cannot be described: \(reason)"))
            }
            return
        }
        let sentence = "the driver \(interface?.driver ?? "") refused \(job.steps[job.done].name): \(reason)"
        guard case .set(let wanted) = job.kind, job.refusal == nil, let interface else {
            if job.refusal == nil, events.count < Self.mostEvents { events.append(.guestLog(sentence)) }
            jobs[0].done += 1
            return
        }
        let names = Set(job.steps[..<job.done].map(\.name))
        jobs[0].refusal = sentence
        jobs[0].steps = names.isEmpty ? [] : wanted.before(interface).steps.reversed()
        jobs[0].done = 0
        // The description that is on its way is of before the undoing.
        if !jobs[0].steps.isEmpty, !commands.isEmpty { commands[0].isOvertaken = true }
    }

    private mutating func describe(_ description: NetDescription) {
        let new = StubInterface(description)
        if interface != new, state == .ready { changeIsNews = true }
        interface = new
    }

    private mutating func finish() {
        let job = jobs.removeFirst()
        switch job.kind {
        case .settle: isSettled = true
        case .set(let wanted) where job.refusal == nil: settings = wanted.over(settings)
        default: break
        }
        guard let ticket = job.ticket, let interface else { return }
        answers.append((ticket, job.refusal.map(StubReply.refused) ?? .interface(interface)))
    }
}
