import CLinux
public import LinuxSystem
import StubControl
import VirtioMessage

/// Where a stub's life of a DD/OS comes from.
public enum ServerSource: Sendable, Equatable {
    /// A VMM that connects to this vhost-user socket, for a guest with this context id; only after a supervisor's `open`.
    case virtualMachine(socket: String, cid: UInt64)
    /// A server stub on this machine that connects to this socket. Every connection is a new life.
    case native(socket: String)
}

/// The stub's one thread: turns the loop, moves bytes between the link, the engine, the front end and supervisors.
///
/// A turn: take completions, take back used chains, tell the front end, publish what it submitted with one doorbell per
/// queue, and then wait: first looking for a moment (``AdaptivePoll``), then asleep.
public struct StubDriver<Front: FrontEnd & ~Copyable, Port: SupervisorPort & ~Copyable>: ~Copyable
where Front.Service == BlockEngine {
    private enum Own {
        static var listener: UInt64 { 1 }
        static var signal: UInt64 { 2 }
    }

    private let source: ServerSource
    private var loop: EventLoop
    private var engine: BlockEngine
    private var frontEnd: Front
    private var port: Port
    private var link: ServerLink?
    private var linkSerial: UInt64 = 0
    private let listener: OwnedDescriptor
    private var listening = false
    private let signals: OwnedDescriptor
    private var poll: AdaptivePoll
    /// Nanoseconds of looking for the answer to a single request before other clients get attention.
    private static var aloneFor: UInt64 { 5_000 }
    /// Requests that keep a DD/OS busy.
    private static var enough: Int { 8 }
    /// Nanoseconds that a client's request may wait for others while the DD/OS is busy.
    private static var company: UInt64 { 8_000 }
    private var lookedAt: UInt64 = 0
    /// Nanoseconds that a shutdown may take.
    private let patience: UInt64 = 5_000_000_000
    private var exitBy: UInt64?

    /// Takes SIGTERM and SIGINT, and listens for the DD/OS. A stale socket file is replaced; the caller has made sure that no other
    /// stub lives in this directory.
    public init(
        configuration: EngineConfiguration, source: ServerSource, pollLimit: UInt64, frontEnd: consuming Front, port: consuming Port
    ) throws(SystemError) {
        ProcessControl.ignoreBrokenPipes()
        let loop = try EventLoop()
        let signals = try OwnedDescriptor(signals: [SIGTERM, SIGINT])
        let path =
            switch source {
            case .virtualMachine(let path, _), .native(let path): path
            }
        let listener = try UnixSocket.listen(path: path)
        try listener.setNonBlocking(true)
        engine = BlockEngine(configuration, now: loop.now)
        self.source = source
        self.loop = loop
        self.signals = signals
        self.listener = listener
        self.frontEnd = frontEnd
        self.port = port
        poll = AdaptivePoll(cap: pollLimit)
    }

    /// Runs until a shutdown is asked for and done. Throws only when the kernel refuses io_uring itself.
    public mutating func run() throws(SystemError) {
        port.start(loop: &loop)
        frontEnd.start(loop: &loop, service: &engine)
        loop.poll(signals.rawValue, events: Int16(POLLIN), EventTag(.driver, Own.signal))
        while true {
            engine.now = loop.now
            takeCompletions()
            if engine.inFlight > 1 { _ = lookAround() }
            takeUsed()
            checkTime()
            tellFrontEnd()
            // The DD/OS can begin while replies are being sent.
            publish()
            frontEnd.turnEnds(loop: &loop, service: &engine)
            // Sending replies frees buffers that others may be waiting for.
            while engine.takeBuffersAvailable() {
                frontEnd.buffersAvailable(loop: &loop, service: &engine)
                frontEnd.turnEnds(loop: &loop, service: &engine)
            }
            publish()
            tellSupervisors()
            if isDone { break }
            prepareToWait()
            try wait()
        }
        port.close(loop: &loop)
        dropLink()
        try? loop.submit()
        switch source {
        // SAFETY: the pointer is used within the closure only.
        case .virtualMachine(let path, _), .native(let path): _ = unsafe path.withCString { unsafe unlink($0) }
        }
    }

    // MARK: a turn

    private mutating func takeCompletions() {
        while let completion = loop.next() {
            let tag = EventTag(userData: completion.userData)
            switch tag.owner {
            case .frontEnd:
                frontEnd.operationCompleted(
                    tag.value, result: completion.result, flags: completion.flags, loop: &loop, service: &engine)
            case .transport:
                do throws(SessionEnd) {
                    try link?.ready(tag.value, result: completion.result, engine: &engine, now: loop.now)
                } catch { lose(error) }
            case .control:
                port.operationCompleted(tag.value, result: completion.result, flags: completion.flags, loop: &loop)
            case .driver:
                if tag.value == Own.listener { listening = false }
                if tag.value == Own.listener, completion.result > 0 { accept() }
                if tag.value == Own.signal { beginShutdown() }
            case .nobody:
                break
            }
        }
        while let (ticket, command) = port.nextCommand() {
            let answer = perform(command)
            port.answer(ticket, answer, loop: &loop)
        }
    }

    private mutating func takeUsed() {
        do throws(SessionEnd) { _ = try engine.takeUsed() } catch { lose(error) }
    }

    private mutating func tellFrontEnd() {
        if engine.exportsAreNews {
            engine.exportsAreNews = false
            frontEnd.exportsBecameKnown(loop: &loop, service: &engine)
        }
        while true {
            while let completion = engine.nextCompletion() {
                frontEnd.requestCompleted(completion, loop: &loop, service: &engine)
            }
            guard engine.takeBuffersAvailable() else { return }
            frontEnd.buffersAvailable(loop: &loop, service: &engine)
        }
    }

    private mutating func publish() {
        guard link != nil else { return }
        do throws(SessionEnd) {
            try link?.publish(&engine)
            try link?.flush(&loop)
        } catch { lose(error) }
    }

    private mutating func checkTime() {
        let now = loop.now
        if engine.nextDeadline <= now {
            do throws(SessionEnd) { try link?.checkDeadlines(&engine, now: now) } catch { lose(error) }
            engine.failOverdueHeld(now: now)
        }
        if frontEnd.nextDeadline <= now { frontEnd.deadlineReached(loop: &loop, service: &engine) }
        if let exitBy, now >= exitBy { engine.abandonRequests() }
    }

    private mutating func tellSupervisors() {
        while let event = engine.nextEvent() {
            port.announce(StubEvent(event, exports: engine.exports), loop: &loop)
        }
    }

    // MARK: waiting

    private mutating func prepareToWait() {
        link?.arm(&loop)
        // In a VM's case a connection is taken only while a life is allowed; it waits in the backlog until then.
        let wants = link == nil && exitBy == nil && (isNative || engine.state == .waiting)
        if wants, !listening {
            listening = true
            loop.poll(listener.rawValue, events: Int16(POLLIN), EventTag(.driver, Own.listener))
        }
    }

    private mutating func wait() throws(SystemError) {
        // With one request under way there is nothing to receive but what comes after its reply: what was queued for that goes to the
        // kernel with the sleep that follows, a system call less.
        let isAlone = engine.inFlight <= 1
        if engine.hasWork { return isAlone ? loop.updateNow() : try loop.submit() }
        if engine.inFlight > 0, poll.budget > 0 {
            let start = loop.now
            var isSubmitted = false
            repeat {
                if engine.hasUsed {
                    poll.pollFoundWork()
                    return isAlone ? loop.updateNow() : try loop.submit()
                }
                if !isSubmitted, !isAlone || loop.now &- start >= Self.aloneFor {
                    isSubmitted = true
                    try loop.submit()
                }
                if isSubmitted {
                    if lookAround() || loop.hasCompletions { return try loop.submit() }
                }
                Clock.yield()
                loop.updateNow()
            } while loop.now &- start < poll.budget
        }
        if engine.enableNotifications() {
            engine.disableNotifications()
            return try loop.submit()
        }
        frontEnd.sleeps(loop: &loop, service: &engine)
        let deadline = min(engine.nextDeadline, frontEnd.nextDeadline, exitBy ?? .max)
        let before = loop.now
        try loop.wait(until: deadline)
        if engine.inFlight > 0 { poll.slept(for: loop.now &- before) }
        engine.disableNotifications()
    }

    /// Takes what the front end's clients have sent meanwhile. True if there was anything.
    private mutating func lookAround() -> Bool {
        // As long as the DD/OS has enough to do, what comes can wait for company: many requests for one system call.
        guard engine.inFlight < Self.enough || loop.now &- lookedAt >= Self.company else { return false }
        lookedAt = loop.now
        return frontEnd.lookAround(loop: &loop, service: &engine)
    }

    // MARK: lives

    private var isNative: Bool {
        if case .native = source { true } else { false }
    }

    private mutating func accept() {
        guard link == nil, exitBy == nil, isNative || engine.state == .waiting else { return }
        guard let socket = try? UnixSocket.accept(on: listener) else { return }
        linkSerial += 1
        switch source {
        case .native:
            guard engine.open(generation: engine.generation + 1) else { return }
            link = ServerLink(native: socket, serial: linkSerial)
            engine.beginSession(now: loop.now)
        case .virtualMachine(_, let cid):
            do throws(SessionEnd) {
                link = try ServerLink(vhostUser: socket, cid: cid, serial: linkSerial)
            } catch { lose(error) }
        }
    }

    private mutating func lose(_ end: SessionEnd) {
        dropLink()
        engine.endSession(end, now: loop.now)
    }

    private mutating func dropLink() {
        link?.disarm(&loop)
        link = nil
    }

    /// Connections that were made before this life was allowed belong to an earlier one.
    private func refuseBacklog() {
        while let socket = try? UnixSocket.accept(on: listener) { _ = consume socket }
    }

    // MARK: supervisors

    private mutating func perform(_ command: StubCommand.Action) -> StubReply {
        switch command {
        case .status:
            return .status(StubStatus(engine, clients: frontEnd.clientCount))
        case .open(let generation):
            guard !isNative else { return .refused("this stub serves a server stub on this machine, whose lives open by themselves") }
            let isNew = generation > engine.generation
            guard engine.open(generation: generation) else {
                return .refused("generation \(generation) is not newer than \(engine.generation)")
            }
            if isNew {
                dropLink()
                refuseBacklog()
            }
            return .done
        case .close:
            engine.close()
            dropLink()
            return .done
        case .inject(let fault):
            guard engine.state == .ready, link != nil else { return .refused("there is no session to inject a fault into") }
            do throws(SessionEnd) { try link?.inject(fault) } catch { lose(error) }
            return .done
        case .fail:
            engine.fail()
            dropLink()
            return .done
        case .interface:
            return .refused("this DD/OS offers disks; it has no network interface")
        case .shutdown:
            beginShutdown()
            return .done
        }
    }

    private mutating func beginShutdown() {
        guard exitBy == nil else { return }
        exitBy = loop.now &+ patience
        engine.beginShutdown()
        frontEnd.shutDown(loop: &loop, service: &engine)
    }

    private var isDone: Bool {
        guard let exitBy else { return false }
        return (frontEnd.isFinished && engine.inFlight == 0) || loop.now >= exitBy &+ 1_000_000_000
    }
}
