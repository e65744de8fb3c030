import CLinux
public import ClientStub
public import LinuxSystem
import StubControl
import VirtioMessage

/// Where a network stub's life of a DD/OS comes from.
public enum NetworkSource: Sendable, Equatable {
    /// A VMM that connects to both vhost-user sockets; only after a supervisor's `open`.
    case virtualMachine(vsock: String, network: String, cid: UInt64)
    /// A server stub on this machine that connects to this socket: the slow path alone. Every connection is a new life.
    case native(socket: String)
    /// A VMM that connects to this socket, whose guest has no server stub: packets alone. Every connection is a new life.
    case packetsOnly(network: String)

    fileprivate var sockets: [String] {
        switch self {
        case .virtualMachine(let vsock, let network, _): [vsock, network]
        case .native(let path): [path]
        case .packetsOnly(let path): [path]
        }
    }

    /// Lives need no supervisor's leave.
    fileprivate var opensItself: Bool {
        if case .virtualMachine = self { false } else { true }
    }
}

/// The network stub's one thread: turns the loop, moves packets, messages and supervisors' words.
///
/// A turn: take completions, move a bounded number of packets, look at the time, tell supervisors, and wait if nothing is left to do.
public struct NetworkDriver<Port: SupervisorPort & ~Copyable>: ~Copyable {
    private enum Own {
        static var vsockListener: UInt64 { 1 }
        static var networkListener: UInt64 { 2 }
        static var signal: UInt64 { 3 }
    }

    private let source: NetworkSource
    private var loop: EventLoop
    private var session: NetworkSession
    private var port: Port
    private var tap: Tap
    private var link: ServerLink?
    private var packets: PacketLink?
    private var linkSerial: UInt64 = 0
    private let listener: OwnedDescriptor
    private let networkListener: OwnedDescriptor?
    private var isListening = (vsock: false, network: false)
    private let signals: OwnedDescriptor
    private var carrier: Bool?
    private var waiting = WaitingPackets()
    /// Of links that are gone.
    private var counters = PacketCounters()
    private var lastCount: UInt64 = 0
    private var lastPacketAt: UInt64 = 0
    private var exits = false
    private var poll: AdaptivePoll

    /// Takes SIGTERM and SIGINT, and listens for the DD/OS. Stale socket files are replaced; the caller has made sure that no other
    /// stub lives in this directory. `pollLimit`: nanoseconds of looking at the guest's queues before sleeping, at most.
    public init(
        configuration: NetworkConfiguration, source: NetworkSource, pollLimit: UInt64, tap: consuming Tap, port: consuming Port
    ) throws(SystemError) {
        ProcessControl.ignoreBrokenPipes()
        let loop = try EventLoop()
        let signals = try OwnedDescriptor(signals: [SIGTERM, SIGINT])
        let listener = try Self.listen(source.sockets[0])
        let networkListener = try source.sockets.count > 1 ? Self.listen(source.sockets[1]) : nil
        self.listener = listener
        self.networkListener = networkListener
        session = NetworkSession(configuration)
        poll = AdaptivePoll(cap: pollLimit)
        self.source = source
        self.loop = loop
        self.signals = signals
        self.tap = tap
        self.port = port
    }

    private static func listen(_ path: String) throws(SystemError) -> OwnedDescriptor {
        let listener = try UnixSocket.listen(path: path)
        try listener.setNonBlocking(true)
        return listener
    }

    /// Runs until a shutdown is asked for. Throws only when the kernel refuses io_uring itself.
    public mutating func run() throws(SystemError) {
        port.start(loop: &loop)
        loop.poll(signals.rawValue, events: Int16(POLLIN), EventTag(.driver, Own.signal))
        followCarrier()
        while !exits {
            takeCompletions()
            movePackets()
            checkTime()
            flush()
            followCarrier()
            tellSupervisors()
            if exits { break }
            prepareToWait()
            try wait()
        }
        port.close(loop: &loop)
        dropLinks()
        try? loop.submit()
        for path in source.sockets {
            // SAFETY: the pointer is used within the closure only.
            _ = unsafe path.withCString { unsafe unlink($0) }
        }
    }

    // MARK: a turn

    private mutating func takeCompletions() {
        while let completion = loop.next() {
            let tag = EventTag(userData: completion.userData)
            switch tag.owner {
            case .frontEnd:
                do throws(SessionEnd) { try packets?.ready(tag.value, result: completion.result) } catch { lose(error) }
            case .transport:
                do throws(SessionEnd) {
                    try link?.ready(tag.value, result: completion.result, engine: &session, now: loop.now)
                } catch { lose(error) }
            case .control:
                port.operationCompleted(tag.value, result: completion.result, flags: completion.flags, loop: &loop)
            case .driver:
                switch tag.value {
                case Own.vsockListener:
                    isListening.vsock = false
                    if completion.result > 0 { acceptServer() }
                case Own.networkListener:
                    isListening.network = false
                    if completion.result > 0, packets == nil, session.state == .waiting, let socket = acceptedPackets() {
                        acceptPackets(socket)
                    }
                default: exits = true
                }
            case .nobody: break
            }
        }
        while let (ticket, command) = port.nextCommand() {
            if let answer = perform(command, ticket) { port.answer(ticket, answer, loop: &loop) }
        }
    }

    private mutating func movePackets() {
        packets?.setTakesPackets(session.takesPackets)
        guard packets != nil else { return }
        do throws(SessionEnd) {
            try packets?.serve()
            do throws(SystemError) { try packets?.follow(&tap) } catch {
                throw SessionEnd(.hangUp, "the interface \(tap.name) refuses what the guest's driver needs: \(error.description)")
            }
        } catch {
            lose(error)
            return
        }
        let count = packetCount
        if count != lastCount {
            lastCount = count
            lastPacketAt = loop.now
        }
        session.isBusy = loop.now &- lastPacketAt < 1_000_000_000
        let runs = packetsPass
        if session.state == .ready, !runs { return lose(SessionEnd(.hangUp, "the guest's network device was stopped")) }
        session.queuesRun = runs
    }

    private mutating func checkTime() {
        if case .native = source { session.queuesRun = link != nil }
        session.checkReadiness(now: loop.now)
        if waiting.areStale(areTaken: session.takesPackets && packetsPass, now: loop.now) { counters.dropped += tap.discardWaiting() }
        guard session.nextDeadline <= loop.now, link != nil else { return }
        do throws(SessionEnd) { try link?.checkDeadlines(&session, now: loop.now) } catch { lose(error) }
    }

    private mutating func flush() {
        guard link != nil else { return }
        do throws(SessionEnd) {
            try link?.issue(&session)
            try link?.flush(&loop)
        } catch { lose(error) }
    }

    private mutating func followCarrier() {
        guard carrier != session.carrier else { return }
        carrier = session.carrier
        // The interface may be gone: then nobody sees its carrier either.
        try? tap.setCarrier(session.carrier)
    }

    private mutating func tellSupervisors() {
        while let (ticket, reply) = session.nextAnswer() { port.answer(ticket, reply, loop: &loop) }
        while let event = session.nextEvent() { port.announce(event, loop: &loop) }
    }

    private mutating func prepareToWait() {
        link?.arm(&loop)
        packets?.setTakesPackets(session.takesPackets)
        packets?.arm(&loop, tap)
        let isAllowed = source.opensItself || session.state == .waiting
        if isAllowed, link == nil, packets == nil || !source.opensItself, !isListening.vsock {
            isListening.vsock = true
            loop.poll(listener.rawValue, events: Int16(POLLIN), EventTag(.driver, Own.vsockListener))
        }
        let networkListener =
            switch networkListener {
            case .some(let listener): listener.rawValue
            case .none: Int32(-1)
            }
        if networkListener >= 0, isAllowed, packets == nil, !isListening.network {
            isListening.network = true
            loop.poll(networkListener, events: Int16(POLLIN), EventTag(.driver, Own.networkListener))
        }
    }

    private mutating func wait() throws(SystemError) {
        if morePackets { return try loop.submit() }
        guard packets != nil, poll.budget > 0 else { return try sleep() }
        // A guest that is sending has the next packet ready in a moment: without a kick for each, it and this side do more at a time.
        let start = loop.now
        try loop.submit()
        repeat {
            if packetsWait || loop.hasCompletions {
                poll.pollFoundWork()
                return try loop.submit()
            }
            Clock.yield()
            loop.updateNow()
        } while loop.now &- start < poll.budget
        try sleep()
    }

    private mutating func sleep() throws(SystemError) {
        if packets?.enableKicks() ?? false { return try loop.submit() }
        let before = loop.now
        try loop.wait(until: min(session.nextDeadline, waiting.deadline))
        if packets != nil { poll.slept(for: loop.now &- before) }
    }

    // MARK: lives

    private mutating func acceptServer() {
        guard link == nil, source.opensItself || session.state == .waiting, let socket = try? UnixSocket.accept(on: listener) else {
            return
        }
        linkSerial += 1
        switch source {
        case .native:
            guard session.open(generation: session.generation + 1) else { return }
            link = ServerLink(native: socket, serial: linkSerial)
            session.beginSession(now: loop.now)
        case .packetsOnly:
            guard session.open(generation: session.generation + 1) else { return }
            session.settleWithoutServer()
            acceptPackets(socket)
        case .virtualMachine(_, _, let cid):
            do throws(SessionEnd) {
                link = try ServerLink(vhostUser: socket, cid: cid, serial: linkSerial)
            } catch { lose(error) }
        }
    }

    private mutating func acceptPackets(_ socket: consuming OwnedDescriptor) {
        linkSerial += 1
        do throws(SessionEnd) {
            packets = try PacketLink(vhostUser: socket, tap: tap, serial: linkSerial)
        } catch { lose(error) }
    }

    private func acceptedPackets() -> OwnedDescriptor? {
        switch networkListener {
        case .some(let listener): try? UnixSocket.accept(on: listener)
        case .none: nil
        }
    }

    private mutating func lose(_ end: SessionEnd) {
        dropLinks()
        session.endSession(end)
    }

    private mutating func dropLinks() {
        link?.disarm(&loop)
        link = nil
        counters += liveCounters
        packets?.disarm(&loop)
        packets = nil
    }

    /// Connections that were made before this life was allowed belong to an earlier one.
    private func refuseBacklog() {
        while let socket = try? UnixSocket.accept(on: listener) { _ = consume socket }
        while let socket = acceptedPackets() { _ = consume socket }
    }

    // MARK: supervisors

    /// Nil: the answer comes later.
    private mutating func perform(_ command: StubCommand.Action, _ ticket: UInt64) -> StubReply? {
        switch command {
        case .status: return .status(status)
        case .open(let generation):
            guard !source.opensItself else { return .refused("this stub's lives open by themselves") }
            let isNew = generation > session.generation
            guard session.open(generation: generation) else {
                return .refused("generation \(generation) is not newer than \(session.generation)")
            }
            if isNew {
                dropLinks()
                refuseBacklog()
            }
        case .close:
            session.close()
            dropLinks()
        case .inject(let fault):
            guard session.state == .ready, link != nil else { return .refused("there is no session to inject a fault into") }
            do throws(SessionEnd) { try link?.inject(fault) } catch { lose(error) }
        case .fail:
            session.fail()
            dropLinks()
        case .interface(let request):
            session.request(request, ticket: ticket)
            return nil
        case .shutdown: exits = true
        }
        return .done
    }

    // Optional chaining would consume what it looks into; a switch borrows.
    private var liveCounters: PacketCounters {
        switch packets {
        case .some(let packets): packets.counters
        case .none: PacketCounters()
        }
    }

    private var packetsPass: Bool {
        switch packets {
        case .some(let packets): packets.isRunning
        case .none: false
        }
    }

    private var morePackets: Bool {
        switch packets {
        case .some(let packets): packets.hasWork
        case .none: false
        }
    }

    private var packetsWait: Bool {
        switch packets {
        case .some(let packets): packets.hasAvailable
        case .none: false
        }
    }

    private var packetCount: UInt64 {
        let live = liveCounters
        return counters.toHostPackets + counters.toGuestPackets + live.toHostPackets + live.toGuestPackets
    }

    private var status: StubStatus {
        var status = StubStatus(pid: ProcessControl.identifier, state: session.state, generation: session.generation)
        status.sessionsLost = session.sessionsLost
        status.interface = session.interface
        var all = counters
        all += liveCounters
        var told = StubInterfaceCounters()
        told.receivedPackets = all.toHostPackets
        told.receivedBytes = all.toHostBytes
        told.sentPackets = all.toGuestPackets
        told.sentBytes = all.toGuestBytes
        told.droppedPackets = all.dropped
        status.packets = told
        return status
    }
}

extension ServerLink {
    // The session's calls that put messages into this link's outbox.

    fileprivate mutating func checkDeadlines(_ session: inout NetworkSession, now: UInt64) throws(SessionEnd) {
        try session.checkDeadlines(&outbox, now: now)
    }

    fileprivate mutating func issue(_ session: inout NetworkSession) throws(SessionEnd) { try session.issue(&outbox) }
}
