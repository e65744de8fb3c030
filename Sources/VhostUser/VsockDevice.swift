internal import Virtqueue

/// The virtio socket device (virtio 1.2, 5.10): one stream at a time, from any port of the guest to one port of the host.
///
/// The event queue stays with QEMU; this has rx (0, host to guest) and tx (1, guest to host). All memory it uses is allocated
/// when it is made; what a guest sends can only fill it up to its limits, and then waits in the guest's own ring.
public struct VsockDevice: ~Copyable, VhostUserDevice {
    static let receiveQueue = 0
    static let transmitQueue = 1
    public static var queueCount: Int { 2 }
    public static var longestQueue: UInt32 { 1024 }

    /// RST packets that can wait for guest buffers; then tx waits.
    static let mostResets = 64
    /// tx packets in one turn; then others have theirs.
    static let mostPackets = 256

    let settings: VsockConfiguration
    var stream: VsockStream?
    var events = VsockEvents()
    /// From the guest, not consumed yet.
    var input: ByteQueue
    /// To the guest, waiting for credit or buffers.
    var output: ByteQueue
    /// A send was refused since the last `writable`.
    var wasRefused = false
    /// Answers to packets that belong to no stream.
    var resets: [VsockHeader] = []
    /// At most half of ``VringSet/shortestLazy``.
    var chain = DescriptorChain(capacity: VringSet.shortestLazy / 2)
    var scratch = [UInt8](repeating: 0, count: VsockHeader.byteCount)

    init(_ settings: VsockConfiguration) {
        self.settings = settings
        input = ByteQueue(capacity: settings.receiveCapacity)
        output = ByteQueue(capacity: settings.backlogCapacity)
        resets.reserveCapacity(Self.mostResets)
    }

    // MARK: VhostUserDevice

    /// None: without VIRTIO_VSOCK_F_STREAM or F_SEQPACKET there are stream sockets (5.10.3).
    public var features: UInt64 { 0 }

    /// `struct virtio_vsock_config { le64 guest_cid; }`
    public var configuration: [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: settings.guestCID >> UInt64($0 * 8)) }
    }

    public mutating func featuresNegotiated(_ features: UInt64) {}
    public mutating func memoryMapped() { events.memoryMapped = true }
    public mutating func kickChanged(_ queue: Int) { events.kicks |= 1 << UInt8(queue) }

    public mutating func ringStopped(_ queue: Int) {
        resets.removeAll(keepingCapacity: true)
        end(.deviceStopped)
    }

    public mutating func serve(_ rings: inout VringSet, rearm: Bool) throws(VhostUserError) -> Bool {
        var found = false
        var budget = Self.mostPackets
        while true {
            while resets.count < Self.mostResets, budget > 0, try rings.pop(Self.transmitQueue, into: &chain) {
                found = true
                budget -= 1
                do { try take() } catch { throw .packet(error) }
                rings.giveBackLazily(Self.transmitQueue, chain)
            }
            try pump(&rings)
            if budget == 0 {
                if rearm { rings.kick(Self.transmitQueue) }
                return true
            }
            // Full of answers that the guest gives no buffers for: it goes on when rx is kicked.
            if resets.count >= Self.mostResets { return found }
            guard rearm, rings.enableKicks(Self.transmitQueue) else { return found }
        }
    }

    // MARK: guest to host

    /// One packet, in `chain`.
    private mutating func take() throws(VsockViolation) {
        guard chain.count == chain.readableCount else { throw .transmitBufferWritable }
        // SAFETY: the scratch array's own bytes, during the calls; what is checked is this copy.
        let copied = unsafe scratch.withUnsafeMutableBytes { unsafe chain.copyReadable(into: $0) }
        guard copied == VsockHeader.byteCount else { throw .headerIncomplete(bytes: chain.readableBytes) }
        let header = unsafe scratch.withUnsafeBytes { unsafe VsockHeader($0) }

        guard header.sourceCID == settings.guestCID else { throw .sourceInvalid(cid: header.sourceCID) }
        guard header.length <= VsockHeader.longestPayload,
            UInt64(header.length) <= chain.readableBytes - UInt64(VsockHeader.byteCount)
        else { throw .lengthInvalid(header.length) }
        // Any program in the guest may try any address and type: that is no violation.
        guard header.type == VsockHeader.stream, header.destinationCID == VsockHeader.hostCID,
            header.destinationPort == settings.port
        else { return refuse(header) }
        guard let operation = VsockHeader.Operation(rawValue: header.operation) else { throw .operationInvalid(header.operation) }
        guard header.length == 0 || operation == .data else { throw .lengthInvalid(header.length) }

        if stream?.port == header.sourcePort {
            try take(operation, header)
        } else if operation == .request, stream == nil, events.closed == nil {
            try accept(header)
        } else {
            refuse(header)
        }
    }

    private mutating func accept(_ header: VsockHeader) throws(VsockViolation) {
        var new = VsockStream(port: header.sourcePort)
        try new.update(header)
        stream = new
        input.removeAll()
        output.removeAll()
        wasRefused = false
        events.received = false
        events.writable = false
        events.connected = header.sourcePort
    }

    /// A packet of the open stream.
    private mutating func take(_ operation: VsockHeader.Operation, _ header: VsockHeader) throws(VsockViolation) {
        try stream?.update(header)
        switch operation {
        case .data:
            guard Int(header.length) <= input.free else { throw .creditExceeded(bytes: header.length) }
            let place = unsafe input.reserve(Int(header.length))
            // SAFETY: `place` is private memory of exactly `length` bytes, which the chain has, as checked.
            input.commit(unsafe chain.copyReadable(from: UInt64(VsockHeader.byteCount), into: place))
            stream?.countReceived(header.length)
            if header.length > 0 { events.received = true }
        case .creditUpdate: break
        case .creditRequest: stream?.owesCreditUpdate = true
        case .shutdown:
            guard header.flags & ~VsockHeader.shutdownBoth == 0 else { throw .shutdownFlagsInvalid(header.flags) }
            // A stream here carries messages both ways: half of one is of no use.
            if header.flags != 0 {
                refuse(header)
                end(.shutDown)
            }
        case .reset: end(.reset)
        case .request:
            // The guest has forgotten the stream (a connect that timed out) and its port was used again.
            refuse(header)
            end(.reset)
        case .response: throw .responseUnexpected
        }
    }

    /// RST to the sender of a packet, unless it is one itself (5.10.6.4).
    private mutating func refuse(_ header: VsockHeader) {
        guard header.operation != VsockHeader.Operation.reset.rawValue else { return }
        var answer = VsockHeader(
            from: (header.destinationCID, header.destinationPort), to: (header.sourceCID, header.sourcePort), .reset)
        answer.type = header.type
        resets.append(answer)
    }

    /// The stream is over. What came before can still be read.
    mutating func end(_ closure: VsockClosure) {
        guard stream != nil else { return }
        stream = nil
        output.removeAll()
        events.closed = closure
    }

    /// Ends the stream from this side; no event.
    mutating func resetStream() {
        guard let port = stream?.port else { return }
        resets.append(VsockHeader(from: (VsockHeader.hostCID, settings.port), to: (settings.guestCID, port), .reset))
        stream = nil
        output.removeAll()
        input.removeAll()
        events.connected = nil
        events.received = false
        events.writable = false
    }

    /// The owner has taken the oldest bytes.
    mutating func consume(_ wanted: Int) {
        let count = min(wanted, input.count)
        input.removeFirst(count)
        stream?.countConsumed(count, capacity: input.capacity)
    }
}
