internal import CLinux
public import LinuxSystem
public import Netlink
internal import VirtioMessage
internal import VirtioNet

/// Serves the slow path of a network DD/OS: virtio-msg on a socket, the NIC's driver over netlink. Packets pass in the kernel meanwhile,
/// whatever this thread does.
///
/// One thread, one poll(2). Nothing that comes from the client is trusted further than its checks, and its memory is bounded: a
/// client that does not read is not answered.
public struct NetworkServer: ~Copyable {
    let socket: OwnedDescriptor
    /// Nil: no NIC was found; the client is told so by a bus without devices.
    var path: NetworkPath?
    private var monitor: LinkMonitor
    var device = NetworkDevice()
    var inbox = MessageInbox()
    var outbox = MessageOutbox()
    /// Public for what is to be said after the end.
    public var log: StubLog
    /// The configuration changed and the client has not been told.
    private var owesConfiguration = false
    /// As the configuration shows it; nil: not known.
    private var shown: Link?
    private var end: StubServer.End?
    private var complaints = 0

    /// - Parameters:
    ///   - socket: connected.
    ///   - path: set up, in the network namespace that the calling thread is in.
    public init(socket: consuming OwnedDescriptor, path: consuming NetworkPath?, log: consuming StubLog) throws(NetlinkError) {
        // Before the state is read for the first time: what changes after that is news.
        let monitor = try LinkMonitor()
        do throws(SystemError) { try socket.setNonBlocking(true) } catch {
            throw NetlinkError(code: error.code, request: "connection to the client stub")
        }
        self.monitor = monitor
        self.socket = socket
        self.path = path
        self.log = log
    }

    /// Sends POOL, the first message of a connection: there is none.
    public mutating func announce() throws(NetlinkError) {
        if let now = try path?.configuration() { _ = device.update(now) }
        let none: [PoolExtent] = []
        do throws(MessageError) {
            try outbox.pool(pageSize: 4096, isFile: false, extents: none.span)
        } catch {
            preconditionFailure("an empty outbox has room for the first message")
        }
    }

    /// Serves until the connection ends.
    public mutating func serve() -> StubServer.End {
        while true {
            tellNews()
            fillOutbox()
            send()
            if let end { return end }
            var entries = (
                pollfd(fd: socket.rawValue, events: wantedEvents, revents: 0),
                pollfd(fd: monitor.rawDescriptor, events: Int16(POLLIN), revents: 0)
            )
            // SAFETY: a pair of structs has the layout of an array of two.
            let ready = unsafe withUnsafeMutableBytes(of: &entries) {
                unsafe poll($0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: pollfd.self), 2, -1)
            }
            if ready < 0 {
                if clinux_errno() != EINTR { finish(.failed(clinux_errno())) }
                continue
            }
            if entries.0.revents & ~Int16(POLLOUT) != 0 { receive() }
            handleMessages()
            // News come last: most are of what the client has just changed, and it waits for its answer.
            send()
            if entries.1.revents != 0, end == nil { takeNews() }
        }
    }

    /// Input is wanted only while there is room for answers.
    private var wantedEvents: Int16 {
        Int16((outbox.freeBytes >= Self.mostAnswerBytes ? POLLIN : 0) | (outbox.isEmpty ? 0 : POLLOUT))
    }

    /// The most bytes that one message adds to the outbox.
    static let mostAnswerBytes = VirtioMessageLimits.maximumMessageSize

    // MARK: the connection

    private mutating func receive() {
        do throws(SystemError) {
            // SAFETY: the inbox's own memory, which nothing else touches meanwhile.
            let room = unsafe inbox.unfilled
            guard unsafe !room.isEmpty else { return }
            let count = unsafe try socket.receive(into: room)
            if count == 0 { finish(.closed) } else { inbox.filled(count) }
        } catch {
            // A peer that died with unread bytes resets the connection: closed all the same.
            if error.code == ECONNRESET { finish(.closed) } else if error.code != EAGAIN { finish(.failed(error.code)) }
        }
    }

    private mutating func send() {
        while !outbox.isEmpty, end == nil {
            do throws(SystemError) {
                // SAFETY: the outbox's own memory, which stays as it is during the call.
                let count = unsafe try socket.send(outbox.pending)
                outbox.sent(count)
            } catch {
                if error.code == EAGAIN { return }
                finish(error.code == EPIPE || error.code == ECONNRESET ? .closed : .failed(error.code))
            }
        }
    }

    private mutating func fillOutbox() {
        while outbox.freeBytes > 2 * VirtioMessageLimits.maximumMessageSize, let line = log.takeUnsent() {
            let text = Array(line.utf8)
            do throws(MessageError) { try outbox.log(text.span) } catch { return }
        }
    }

    private mutating func handleMessages() {
        do throws(MessageError) {
            while end == nil, outbox.freeBytes >= Self.mostAnswerBytes, let header = try inbox.next() { handleMessage(header) }
        } catch {
            complain("the stream of messages has lost its framing")
            finish(.badStream)
        }
    }

    // MARK: news of the NIC

    private mutating func takeNews() {
        guard let nic = path?.nicIndex else {
            do throws(NetlinkError) { _ = try monitor.take { _ in } } catch { finish(.failed(error.code)) }
            return
        }
        var latest: Link?
        var isGone = false
        var isComplete = false
        do throws(NetlinkError) {
            isComplete = try monitor.take { news in
                switch news {
                case .changed(let link): if link.index == nic { latest = link }
                case .removed(let index): if index == nic { isGone = true }
                }
            }
        } catch {
            log.line("no more news of the NIC: " + error.description)
            finish(.failed(error.code))
        }
        if isGone {
            // Nothing is left to serve: another life may find it again.
            log.line("the driver has given up its interface")
            finish(.failed(ENODEV))
        } else if !isComplete {
            shown = nil
            readConfiguration(nil)
        } else if let latest, shown.map({ !Self.areAlike($0, latest) }) ?? true {
            shown = latest
            readConfiguration(latest)
        }
    }

    /// Whether the configuration shows nothing that differs. A speed changes only with the connection.
    private static func areAlike(_ one: Link, _ other: Link) -> Bool {
        one.mac == other.mac && one.mtu == other.mtu && one.isUp == other.isUp && one.hasCarrier == other.hasCarrier
    }

    /// Asks the driver, and notes whether the client has to be told. `link`: as the kernel has just said; nil: it is to be asked.
    private mutating func readConfiguration(_ link: Link?) {
        do throws(NetlinkError) {
            let read = if let link { try path?.configuration(link) } else { try path?.configuration() }
            guard let now = read else { return }
            if device.update(now) {
                owesConfiguration = true
                log.line(Self.words(now))
            }
        } catch { log.line("the NIC does not answer: " + error.description) }
    }

    private static func words(_ now: VirtioNetConfiguration) -> String {
        guard now.hasLink else { return "link down, MTU " + decimal(Int(now.mtu)) }
        let speed = now.speed == VirtioNetConfiguration.unknownSpeed ? "" : ", " + decimal(Int(now.speed)) + " Mbit/s"
        let duplex = now.duplex == 1 ? ", full duplex" : now.duplex == 0 ? ", half duplex" : ""
        return "link up" + speed + duplex + ", MTU " + decimal(Int(now.mtu))
    }

    /// EVENT_CONFIG, if it is owed and the driver is there (virtio 1.2, 2.3: only after DRIVER_OK).
    private mutating func tellNews() {
        guard owesConfiguration, device.status.contains(.driverOK) else { return }
        let now = device
        do throws(MessageError) {
            try outbox.eventConfig(device: 0, status: now.status, generation: now.generation, data: now.configuration.span)
            owesConfiguration = false
        } catch {}  // No room now: it stays owed.
    }

    // MARK: the end

    mutating func finish(_ reason: StubServer.End) {
        if end == nil { end = reason }
    }

    /// Stops answering, for good, with the connection open: see `StubServer.hang`.
    mutating func hang() {
        while end != nil { Clock.sleep(nanoseconds: 1_000_000_000) }
    }

    /// Panics the guest's kernel while the connection is still open. Returns only if that fails.
    mutating func panicGuest() {
        do throws(SystemError) { try Guest.panic() } catch { log.line(error.description) }
    }

    /// Logs what a client did wrong. Only the first few: a hostile client must not fill the console.
    mutating func complain(_ text: String) {
        complaints += 1
        if complaints <= 32 { log.line(text) }
    }
}
