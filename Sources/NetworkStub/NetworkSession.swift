public import ClientStub
public import StubControl
public import VirtioMessage
import VirtioNet

/// How a network stub's session behaves. Times are nanoseconds.
public struct NetworkConfiguration: Sendable {
    /// Silence before the DD/OS is asked whether it lives, while packets pass…
    public var pingInterval: UInt64 = 500_000_000
    /// …and while none do.
    public var restingPingInterval: UInt64 = 2_500_000_000
    public var pingTimeout: UInt64 = 3_000_000_000
    /// Each answer of the handshake may take this long…
    public var stepTimeout: UInt64 = 5_000_000_000
    /// …and all of it, from the connection to the running queues, this long.
    public var handshakeTimeout: UInt64 = 30_000_000_000
    /// A control command: some reset the NIC.
    public var commandTimeout: UInt64 = 10_000_000_000
    /// Changes of the interface are told at most this often.
    public var changeInterval: UInt64 = 50_000_000
    /// What the interface's carrier is while the DD/OS is down: off, or as it was.
    public var dropsCarrier = false
    /// As it was: also after the DD/OS is ready, for as long as its NIC negotiates with the wire's other end, at most.
    public var carrierGrace: UInt64 = 5_000_000_000
    /// The interface had its carrier before this stub: as if the last session had had it.
    public var beginsWithCarrier = false

    public init() {}
}

/// The slow path of a network DD/OS: its session, and the settings that outlive it.
///
/// Does no I/O of its own, like ``BlockEngine``: messages come in, and go out through an outbox. Control commands go out one at a time, in the order in
/// which they were asked for; each has a deadline. Whatever the DD/OS says wrongly is thrown, and ends the session.
public struct NetworkSession: ~Copyable, LinkedSession {
    public let configuration: NetworkConfiguration
    public internal(set) var state = StubStatus.State.closed
    /// Of the life that is allowed, or was last.
    public internal(set) var generation: UInt64 = 0
    /// As the driver described it last; nil before the first session.
    public internal(set) var interface: StubInterface?
    /// Applied anew in each life.
    public internal(set) var settings = StubInterfaceSettings()
    public internal(set) var sessionsLost: UInt64 = 0
    /// Whether packets pass: the DD/OS is then asked more often whether it lives.
    public var isBusy = false
    /// Whether the guest's driver serves the queues, or there are none (a server stub on this machine).
    public var queuesRun = false

    var handshake: NetworkHandshake?
    var liveness = Liveness()
    /// The number of the device on the DD/OS's bus.
    var device: UInt16 = 0
    var jobs: [InterfaceJob] = []
    /// Those of the first job that are out, the oldest first: answers come in the same order.
    var commands: [SentCommand] = []
    /// Described, and set as remembered: ready when the queues run.
    var isSettled = false
    var events: [StubEvent] = []
    var logLimit = GuestLogLimit()
    var answers: [(ticket: UInt64, reply: StubReply)] = []
    /// The interface changed, and nobody was told.
    var changeIsNews = false
    var lastChangeTold: UInt64 = 0
    var now: UInt64 = 0

    public init(_ configuration: NetworkConfiguration) {
        self.configuration = configuration
        wasUp = configuration.beginsWithCarrier
    }

    public var isConnected: Bool { handshake != nil || isSettled }

    /// What the host's programs shall see as the interface's carrier.
    public var carrier: Bool {
        switch state {
        case .ready: hasLink || now < graceEnd
        case .failing: false
        case .closed, .waiting: configuration.dropsCarrier ? false : wasUp
        }
    }

    /// Whether what the host sends would get onto the wire: if not it is better kept than given to the DD/OS, which throws it away.
    public var takesPackets: Bool { state == .ready && hasLink }

    private var hasLink: Bool { interface?.hasCarrier ?? false }
    /// The carrier that the last session showed.
    private var wasUp: Bool
    /// Until then a NIC without a link is one that negotiates.
    private var graceEnd: UInt64 = 0

    // MARK: lives

    /// A new life may connect; see ``BlockEngine/open(generation:)``.
    public mutating func open(generation new: UInt64) -> Bool {
        if new == generation, state == .waiting || state == .ready { return true }
        guard new > generation else { return false }
        drop()
        generation = new
        state = .waiting
        return true
    }

    /// Ends the session, if there is one, and refuses the DD/OS until the next ``open(generation:)``.
    public mutating func close() {
        drop()
        if state != .failing { state = .closed }
    }

    /// Quarantine.
    public mutating func fail() {
        drop()
        state = .failing
    }

    /// The session, or the attempt at one, is over: an event for supervisors.
    public mutating func endSession(_ end: SessionEnd) {
        guard state == .ready || state == .waiting else { return }
        sessionsLost += 1
        drop()
        state = .closed
        events.append(.sessionLost(generation: generation, cause: end.loss, reason: end.reason))
    }

    private mutating func drop() {
        if state == .ready { wasUp = carrier }
        handshake = nil
        isSettled = false
        queuesRun = false
        commands.removeAll()
        for job in jobs { if let ticket = job.ticket { answers.append((ticket, .refused("the DD/OS went down before it answered"))) } }
        jobs.removeAll()
    }

    /// A guest without a server stub: ready as soon as its queues run, and nothing is known of what it does with packets.
    mutating func settleWithoutServer() {
        var unknown = StubInterface(driver: "virtio_net", mac: "", mtu: 1500)
        unknown.hasCarrier = true
        interface = unknown
        isSettled = true
    }

    // MARK: supervisors

    /// Starts a request of a supervisor's; the answer comes with ``nextAnswer()``.
    public mutating func request(_ request: StubInterfaceRequest, ticket: UInt64) {
        // Before a life is let in, its supervisor says what to set in it; what the driver then thinks of it is in the log.
        if state == .closed, case .set(let wanted) = request {
            settings = wanted.over(settings)
            answers.append((ticket, .done))
            return
        }
        guard state == .ready, let interface else {
            answers.append((ticket, .refused("the DD/OS is not up: its interface can be asked and set when it is")))
            return
        }
        guard jobs.count < 64 else {
            answers.append((ticket, .refused("too many requests wait for the DD/OS; try again")))
            return
        }
        switch request {
        case .describe: jobs.append(InterfaceJob(.describe, ticket: ticket))
        case .statistics: jobs.append(InterfaceJob(.statistics, ticket: ticket))
        case .set(let wanted):
            if let objection = wanted.objection(to: interface) {
                answers.append((ticket, .refused(objection)))
                return
            }
            jobs.append(InterfaceJob(.set(wanted), ticket: ticket, steps: wanted.steps))
        }
    }

    /// The next answer to a supervisor.
    public mutating func nextAnswer() -> (ticket: UInt64, reply: StubReply)? { answers.isEmpty ? nil : answers.removeFirst() }

    /// The next thing that supervisors have to hear.
    public mutating func nextEvent() -> StubEvent? {
        if !events.isEmpty { return events.removeFirst() }
        if changeIsNews, state == .ready, let interface, now >= lastChangeTold &+ configuration.changeInterval {
            changeIsNews = false
            lastChangeTold = now
            return .interfaceChanged(interface)
        }
        return nil
    }

    /// Ready as soon as the interface is set up and its queues run.
    public mutating func checkReadiness(now: UInt64) {
        self.now = now
        // The link that it had to wait for: when it goes again, that is no negotiation.
        if state == .ready, hasLink { graceEnd = 0 }
        guard state == .waiting, isSettled, queuesRun, let interface else { return }
        handshake = nil
        state = .ready
        graceEnd = !configuration.dropsCarrier && wasUp ? now &+ configuration.carrierGrace : 0
        changeIsNews = false
        events.append(.interfaceReady(generation: generation, interface))
    }

    // MARK: time

    /// When ``checkDeadlines(_:now:)`` has something to do next; `.max`: never.
    public var nextDeadline: UInt64 {
        guard handshake != nil || liveness.lastHeard > 0 else { return .max }
        var next = UInt64.max
        if let handshake { next = min(handshake.deadline, isSettled ? .max : handshake.stepDeadline) }
        if isConnected, handshake?.step != .awaitingPool {
            next = min(next, liveness.deadline(interval: pingInterval, timeout: configuration.pingTimeout))
        }
        if let command = commands.first { next = min(next, command.deadline) }
        if graceEnd > now, state == .ready { next = min(next, graceEnd) }
        if changeIsNews, state == .ready { next = min(next, lastChangeTold &+ configuration.changeInterval) }
        return next
    }

    private var pingInterval: UInt64 { isBusy ? configuration.pingInterval : configuration.restingPingInterval }

    /// Sends a PING if it is time.
    /// - Throws: what the DD/OS has missed.
    public mutating func checkDeadlines(_ outbox: inout MessageOutbox, now: UInt64) throws(SessionEnd) {
        self.now = now
        if let handshake {
            if now >= handshake.deadline {
                let what = isSettled ? "its virtio-net driver did not start its queues" : "no answer while \(handshake.step.description)"
                throw SessionEnd(.handshakeTimeout, what)
            }
            if !isSettled, now >= handshake.stepDeadline {
                throw SessionEnd(.handshakeTimeout, "no answer while \(handshake.step.description)")
            }
        }
        if let command = commands.first, now >= command.deadline {
            let name = jobs.first?.currentName ?? "a control command"
            throw SessionEnd(.requestDeadline, "no answer to \(name) within \(configuration.commandTimeout / 1_000_000_000) s")
        }
        guard isConnected, handshake?.step != .awaitingPool else { return }
        try liveness.check(&outbox, interval: pingInterval, timeout: configuration.pingTimeout, now: now)
    }
}
