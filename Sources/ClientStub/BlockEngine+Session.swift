public import VirtioMessage

extension BlockEngine {
    // MARK: lives

    /// A new life may connect. False: the generation is not newer than one that was open already.
    ///
    /// The caller has made sure that nothing of the life before can touch the device any more. Opening the generation that is open
    /// already changes nothing.
    public mutating func open(generation new: UInt64) -> Bool {
        if new == generation, state == .waiting || state == .ready { return true }
        guard new > generation else { return false }
        if state == .ready || handshake != nil { dropSession() }
        generation = new
        state = .waiting
        return true
    }

    /// Ends the session, if there is one, and refuses the DD/OS until the next ``open(generation:)``. Requests in flight are kept.
    public mutating func close() {
        dropSession()
        if state != .failing { state = .closed }
    }

    /// Quarantine: every request fails, now and from now on, until the next ``open(generation:)``.
    public mutating func fail() {
        dropSession()
        state = .failing
        while let index = requests.oldestHeld() { finish(index, .ioError) }
    }

    /// No new requests; those that are held fail, those in flight go on.
    public mutating func beginShutdown() {
        isShuttingDown = true
        while let index = requests.oldestHeld() { finish(index, .shuttingDown) }
    }

    /// Fails everything that is left, in flight too, at the end of the stub's patience.
    public mutating func abandonRequests() {
        dropSession()
        state = .closed
        while let index = requests.oldestHeld() { finish(index, .shuttingDown) }
    }

    // MARK: sessions

    /// The DD/OS has connected: it has to say where its pool is.
    public mutating func beginSession(now: UInt64) {
        precondition(handshake == nil && state == .waiting)
        self.now = now
        handshake = Handshake(
            deadline: now &+ configuration.handshakeTimeout, stepDeadline: now &+ configuration.stepTimeout)
    }

    /// The session, or the attempt at one, is over: an event for supervisors; requests in flight are kept for the next.
    public mutating func endSession(_ end: SessionEnd, now: UInt64) {
        self.now = now
        guard state == .ready || state == .waiting else { return }
        counters.sessionsLost += 1
        dropSession()
        state = .closed
        events.append(.sessionLost(generation: generation, end))
    }

    /// Whether the DD/OS is connected, with a session or on the way to one.
    public var isConnected: Bool { state == .ready || handshake != nil }

    private mutating func dropSession() {
        noteOmission()
        handshake = nil
        brokenQueue = nil
        queues.removeAll()
        pendingRegion = nil
        queueOfExport.removeAll(keepingCapacity: true)
        let wasReady = state == .ready
        lostInFlight += requests.holdAllInFlight()
        buffers.end()
        if wasReady {
            downSince = now
            // Requests wait from here on: the gap ends with the next completion.
            gapStart = requests.isEmpty ? nil : max(lastCompletionAt, requests.oldestHeld().map { requests[$0].acceptedAt } ?? now)
            state = .closed
        }
    }

    mutating func sessionIsReady(_ region: consuming PoolRegion, firstByte: UInt64, now: UInt64) {
        self.now = now
        buffers.begin(region, firstByte: firstByte)
        handshake = nil
        state = .ready
        liveness.begin(at: now)
        if !exportsKnown {
            exportsKnown = true
            exportsAreNews = true
        }
        let replayed = lostInFlight
        lostInFlight = 0
        counters.replayed += UInt64(replayed)
        events.append(.sessionReady(generation: generation, replayed: replayed))
        for export in exports.indices { sendHeld(export: export) }
    }

    // MARK: messages

    /// Takes a message of the DD/OS's; `bytes` are all of the message's. POOL goes to ``poolArrived(_:_:now:)`` instead.
    public mutating func received(
        _ message: DeviceMessage, _ header: MessageHeader, _ bytes: Span<UInt8>, _ outbox: inout MessageOutbox, now: UInt64
    ) throws(SessionEnd) {
        self.now = now
        guard isConnected else { return }
        liveness.heard(at: now)
        switch message {
        case .ping(let data):
            do { try outbox.pong(token: header.token, data) } catch { throw .violation("the server stub does not read its messages") }
        case .pong(let data):
            guard liveness.answered(token: header.token, data: data, at: now) else {
                throw .violation("an answer to a PING that nobody sent")
            }
        case .log(let text):
            guard logLimit.admits(at: now) else { break }
            noteOmission()
            events.append(.guestLog(GuestText.printable(bytes, text)))
        case .eventUsed(let queue):
            if handshake?.step == .identity { return try identified(header.device, queue, &outbox) }
            guard state == .ready else { throw .violation("a doorbell before the session is ready") }
            guard queue == 0, (0..<queues.count).contains(where: { queues[$0].device == header.device }) else {
                throw .violation("a doorbell for a queue that does not exist")
            }
            counters.doorbellsReceived += 1
        case .eventConfig:
            // A disk that changes its size or goes away under its clients is not the disk that they were promised.
            throw .violation("the configuration of disk \(header.device) changed")
        case .eventDevice(let number, let state):
            if state == .removed { throw .violation("disk \(number) was removed") }
        case .pool:
            throw .violation("a second pool")
        default:
            guard handshake != nil else { throw .violation("an answer that nobody asked for (message \(header.id))") }
            try advance(message, header, bytes, &outbox)
        }
    }

    private mutating func noteOmission() {
        if let omission = logLimit.omission() { events.append(.guestLog(omission)) }
    }
}
