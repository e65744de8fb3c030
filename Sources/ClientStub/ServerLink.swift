import CLinux
public import LinuxSystem
public import StubControl
import VhostUser
public import VirtioMessage

/// The connection to one life of a server stub: its messages, whichever way they travel.
///
/// Two ways: through the vsock device of a VM (this process *is* that device), or over a Unix socket to a server stub on this
/// machine. Both are polled by the loop; reads and writes never block.
public struct ServerLink: ~Copyable {
    /// What a tag's value says: which link, and which of its descriptors.
    enum Source: UInt64 {
        case socket = 0
        case kick0 = 1
        case kick1 = 2
        case writable = 3
    }

    /// Distinguishes this link's completions from those of links before it.
    public let serial: UInt64
    private var inbox = MessageInbox()
    public var outbox = MessageOutbox()
    private var vsock: VsockBackend?
    private var socket: OwnedDescriptor?
    /// The pool's file, from a server stub on this machine.
    private var poolFile: OwnedDescriptor?
    private var armed: (socket: Int32, kick0: Int32, kick1: Int32) = (-1, -1, -1)
    /// Kick descriptors that are no longer what is polled, although the new one may have the same number.
    private var staleKicks = (false, false)
    private var waitsForWritable = false
    private static let dontWait: Int32 = 0x40  // MSG_DONTWAIT, an enum in glibc

    /// A server stub on this machine.
    public init(native socket: consuming OwnedDescriptor, serial: UInt64) {
        self.serial = serial
        self.socket = consume socket
    }

    /// A VMM's vhost-user connection.
    public init(vhostUser socket: consuming OwnedDescriptor, cid: UInt64, serial: UInt64) throws(SessionEnd) {
        self.serial = serial
        do throws(VhostUserError) {
            vsock = try VsockBackend(socket: socket, configuration: VsockConfiguration(guestCID: cid))
        } catch { throw Self.end(error) }
    }

    /// True for a server stub on this machine, whose session begins with the connection.
    public var isNative: Bool { socket != nil }

    // MARK: the loop

    /// Polls every descriptor that is not polled yet.
    public mutating func arm(_ loop: inout EventLoop) {
        let main = socket?.rawValue ?? vsock?.socketDescriptor ?? -1
        if main >= 0, armed.socket != main {
            armed.socket = main
            loop.poll(main, events: Int16(POLLIN), tag(.socket))
        }
        if staleKicks.0 {
            loop.cancel(tag(.kick0))
            armed.kick0 = -1
        }
        if staleKicks.1 {
            loop.cancel(tag(.kick1))
            armed.kick1 = -1
        }
        staleKicks = (false, false)
        if let kick = vsock?.kickDescriptor(queue: 0), armed.kick0 != kick {
            armed.kick0 = kick
            loop.poll(kick, events: Int16(POLLIN), tag(.kick0))
        }
        if let kick = vsock?.kickDescriptor(queue: 1), armed.kick1 != kick {
            armed.kick1 = kick
            loop.poll(kick, events: Int16(POLLIN), tag(.kick1))
        }
    }

    /// Ends every poll; call it before dropping the link.
    public mutating func disarm(_ loop: inout EventLoop) {
        for source in [Source.socket, .kick0, .kick1, .writable] { loop.cancel(tag(source)) }
        armed = (-1, -1, -1)
    }

    private func tag(_ source: Source) -> EventTag { EventTag(.transport, serial << 2 | source.rawValue) }

    /// A poll of this link has completed: reads what is there, and hands messages to the engine.
    public mutating func ready(_ value: UInt64, result: Int32, engine: inout some LinkedSession & ~Copyable, now: UInt64) throws(SessionEnd)
    {
        guard value >> 2 == serial, let source = Source(rawValue: value & 3) else { return }
        if result == -ECANCELED { return }
        switch source {
        case .socket:
            armed.socket = -1
            if isNative {
                try readNative(&engine, now)
                return
            }
            do { try vsock?.handleSocketReadable() } catch { throw Self.end(error) }
        case .kick0, .kick1:
            let queue = source == .kick0 ? 0 : 1
            if queue == 0 { armed.kick0 = -1 } else { armed.kick1 = -1 }
            do { try vsock?.handleKick(queue: queue) } catch { throw Self.end(error) }
        case .writable:
            waitsForWritable = false
            return
        }
        try takeEvents(&engine, now)
    }

    /// Sends what waits in the outbox, as far as the peer takes it.
    public mutating func flush(_ loop: inout EventLoop) throws(SessionEnd) {
        if !outbox.isEmpty {
            if isNative { try flushNative(&loop) } else { try flushVsock() }
        }
        do { try vsock?.flush() } catch { throw Self.end(error) }
    }

    // MARK: a server stub on this machine

    private mutating func readNative(_ engine: inout some LinkedSession & ~Copyable, _ now: UInt64) throws(SessionEnd) {
        while true {
            let room = unsafe inbox.unfilled.count
            guard let count = try receiveNative() else { return }
            if count == 0 { throw SessionEnd(.hangUp, "the server stub closed its connection") }
            inbox.filled(count)
            try takeMessages(&engine, now)
            if count < room { return }
        }
    }

    /// Bytes that came; 0 at the end of the stream, `nil` when there is nothing now.
    private mutating func receiveNative() throws(SessionEnd) -> Int? {
        do throws(SystemError) {
            let room = unsafe inbox.unfilled
            guard poolFile == nil else { return try unsafe socket?.receive(into: room, flags: Self.dontWait) }
            // The first message brings the pool's file along.
            guard var received = try unsafe socket?.receiveDescriptors(into: room, limit: 1, flags: Self.dontWait) else { return nil }
            poolFile = received.takeFirst()
            return received.byteCount
        } catch {
            if error.code == EAGAIN { return nil }
            throw SessionEnd(.hangUp, "the server stub's connection broke: \(error.reason)")
        }
    }

    private mutating func flushNative(_ loop: inout EventLoop) throws(SessionEnd) {
        guard !waitsForWritable else { return }
        do throws(SystemError) {
            let count = try unsafe socket?.send(outbox.pending, flags: Self.dontWait) ?? 0
            outbox.sent(count)
        } catch {
            guard error.code == EAGAIN else { throw SessionEnd(.hangUp, "the server stub's connection broke: \(error.reason)") }
            waitsForWritable = true
            if let descriptor = socket?.rawValue { loop.poll(descriptor, events: Int16(POLLOUT), tag(.writable)) }
        }
    }

    // MARK: a VM

    private mutating func takeEvents(_ engine: inout some LinkedSession & ~Copyable, _ now: UInt64) throws(SessionEnd) {
        while let event = vsock?.nextEvent() {
            switch event {
            case .connected:
                guard !engine.isConnected else { throw .violation("the server stub connected twice") }
                inbox.reset()
                outbox.reset()
                engine.beginSession(now: now)
            case .received:
                vsock?.drain(into: &inbox)
                try takeMessages(&engine, now)
                // What did not fit the inbox at first fits now.
                vsock?.drain(into: &inbox)
                try takeMessages(&engine, now)
            case .closed(let closure):
                throw SessionEnd(.hangUp, Self.words(closure))
            case .kickChanged(let queue):
                if queue == 0 { staleKicks.0 = true } else { staleKicks.1 = true }
            case .writable, .memoryMapped:
                break
            }
        }
    }

    private mutating func flushVsock() throws(SessionEnd) {
        do {
            let bytes = unsafe outbox.pending
            if try unsafe vsock?.send(bytes) ?? false { outbox.sent(bytes.count) }
        } catch { throw Self.end(error) }
    }

    private static func words(_ closure: VsockClosure) -> String {
        switch closure {
        case .shutDown: "the server stub closed its connection"
        case .reset: "the server stub's connection was reset"
        case .deviceStopped: "the guest's vsock device was stopped"
        }
    }

    private static func end(_ error: VhostUserError) -> SessionEnd {
        error == .disconnected ? SessionEnd(.hangUp, "the VMM is gone") : .violation("vhost-user: \(String(describing: error))")
    }

    // MARK: messages

    private mutating func takeMessages(_ engine: inout some LinkedSession & ~Copyable, _ now: UInt64) throws(SessionEnd) {
        try Self.takeMessages(&inbox, &outbox, &vsock, file: poolFile?.rawValue, &engine, now)
    }

    /// Static, so that the message can be read in place in the inbox while the answer goes to the outbox.
    private static func takeMessages(
        _ inbox: inout MessageInbox, _ outbox: inout MessageOutbox, _ vsock: inout VsockBackend?, file: Int32?,
        _ engine: inout some LinkedSession & ~Copyable, _ now: UInt64
    ) throws(SessionEnd) {
        while let header = try nextHeader(&inbox) {
            let message: DeviceMessage
            do throws(MessageError) {
                message = try DeviceMessage(untrusted: header, inbox.message)
            } catch { throw .violation(words(error)) }
            if case .pool(let description) = message, description.extentCount > 0 {
                let region = try map(extents(description, inbox.message), description, &vsock, file: file)
                try engine.poolArrived(region, &outbox, now: now)
            } else {
                try engine.received(message, header, inbox.message, &outbox, now: now)
            }
        }
    }

    private static func nextHeader(_ inbox: inout MessageInbox) throws(SessionEnd) -> MessageHeader? {
        do throws(MessageError) { return try inbox.next() } catch { throw .violation(words(error)) }
    }

    private static func words(_ error: MessageError) -> String {
        switch error {
        case .truncated: "a message that ends too early"
        case .headerSize(let size): "a message of \(size) bytes, less than its header"
        case .tooLarge(let size): "a message of \(size) bytes, more than this bus allows"
        case .unknownMessage(_, _, let id): "message \(id), which a device does not send"
        case .payloadSize(_, let id, let bytes): "message \(id) with a wrong size of \(bytes) bytes"
        case .invalidField(_, let id): "message \(id) with an invalid field"
        case .noSpace: "the server stub does not read its messages"
        }
    }

    /// The extents of a POOL message, checked for sizes.
    private static func extents(_ description: PoolDescription, _ message: Span<UInt8>) throws(SessionEnd) -> [PoolExtent] {
        guard description.pageSize >= 4096, description.pageSize & (description.pageSize - 1) == 0 else {
            throw .violation("a pool with pages of \(description.pageSize) bytes")
        }
        var extents: [PoolExtent] = []
        var total: UInt64 = 0
        for index in 0..<description.extentCount {
            let extent = description.extent(index, in: message)
            guard extent.length > 0, extent.length <= PoolRegion.largest else { throw .violation("an extent of \(extent.length) bytes") }
            total += extent.length
            guard total <= PoolRegion.largest else { throw .violation("a pool of more than \(PoolRegion.largest) bytes") }
            extents.append(extent)
        }
        return extents
    }

    private static func map(
        _ extents: [PoolExtent], _ description: PoolDescription, _ vsock: inout VsockBackend?, file: Int32?
    ) throws(SessionEnd) -> PoolRegion {
        if let file, description.isFile { return try PoolRegion(file: file, extents: extents.map { ($0.address, $0.length) }) }
        guard !description.isFile else { throw .violation("a pool in a file that did not come along") }
        do throws(VhostUserError) {
            let wanted = extents.map { GuestExtent(address: $0.address, length: $0.length) }
            if let mapping = try vsock?.mapContiguous(wanted) { return PoolRegion(guest: mapping) }
        } catch { throw .violation("the pool: \(String(describing: error))") }
        throw .violation("a pool in guest memory, without a VM")
    }
}

extension VsockBackend {
    /// Moves received bytes to the inbox, as many as fit.
    fileprivate mutating func drain(into inbox: inout MessageInbox) {
        unsafe receive { bytes in
            // SAFETY: the span is used only within this closure, while the bytes are valid.
            let typed = unsafe bytes.bindMemory(to: UInt8.self)
            return unsafe inbox.fill(from: typed.span)
        }
    }
}

extension ServerLink {
    // Calls that put messages into this link's outbox.

    mutating func publish(_ engine: inout BlockEngine) throws(SessionEnd) { try engine.publish(&outbox) }

    mutating func checkDeadlines(_ engine: inout BlockEngine, now: UInt64) throws(SessionEnd) {
        try engine.checkDeadlines(&outbox, now: now)
    }

    public mutating func inject(_ fault: StubFault) throws(SessionEnd) {
        do throws(MessageError) {
            try outbox.inject(fault == .hang ? .hang : .panic)
        } catch { throw .violation("the server stub does not read its messages") }
    }
}
