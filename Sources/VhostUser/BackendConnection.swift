import CLinux
public import LinuxSystem
internal import Virtqueue

/// One vhost-user connection, back-end side, with the device behind it. QEMU docs/interop/vhost-user.rst.
///
/// Never blocks and starts no thread: see ``VsockBackend`` for how an event loop drives it.
public struct BackendConnection<Device: VhostUserDevice & ~Copyable>: ~Copyable {
    /// The device. Whoever owns the connection talks to it, too.
    public var device: Device
    /// The queues, for what the owner makes the device do.
    public var rings: VringSet

    private let socket: OwnedDescriptor
    private var acknowledged: UInt64 = 0
    private var protocolFeatures: UInt64 = 0

    // The message that is coming in: header first, then payload; descriptors come with the first byte.
    private var message = ByteQueue(capacity: MessageHeader.byteCount + Int(FrontEndRequest.longestPayload))
    private var header: MessageHeader?
    private var descriptors: ReceivedDescriptors?

    /// Takes over a connected Unix stream socket, and makes it non-blocking.
    public init(socket: consuming OwnedDescriptor, device: consuming Device) throws(VhostUserError) {
        do { try socket.setNonBlocking(true) } catch { throw .system(error) }
        self.socket = socket
        self.device = device
        rings = VringSet(count: Device.queueCount)
    }

    /// To poll for readability.
    public var socketDescriptor: Int32 { socket.rawValue }

    /// To poll for readability; nil while the queue has none.
    public func kickDescriptor(_ queue: Int) -> Int32? { rings.rings[queue].kickDescriptor }

    /// Clears the kick descriptor of `queue`: it stays readable otherwise.
    public mutating func clearKick(_ queue: Int) {
        guard let descriptor = rings.rings[queue].kickDescriptor else { return }
        var count: UInt64 = 0
        // SAFETY: eight bytes into eight bytes. Nothing there (EAGAIN) is fine.
        _ = unsafe read(descriptor, &count, 8)
    }

    var memoryTable: MemoryTable? { rings.table }

    private var offered: UInt64 { device.features | CommonFeature.offered }

    private var offeredProtocol: UInt64 {
        device.configuration.isEmpty ? ProtocolFeature.offered & ~ProtocolFeature.configuration : ProtocolFeature.offered
    }

    // MARK: messages

    /// Reads and answers what is there. A front end that sends more than 4096 messages in one go is flooding.
    public mutating func handleSocketReadable() throws(VhostUserError) {
        for _ in 0..<4096 where try !receive() { return }
        throw .flooded
    }

    /// Reads what is missing of one message, and handles it if it is whole. False: nothing more for now.
    private mutating func receive() throws(VhostUserError) -> Bool {
        if header == nil {
            guard try fill(to: MessageHeader.byteCount) else { return false }
            // SAFETY: copied at once.
            header = try MessageHeader(untrusted: unsafe [UInt8](message.bytes))
        }
        guard let header else { return false }
        guard try fill(to: MessageHeader.byteCount + Int(header.size)) else { return false }
        // SAFETY: copied at once.
        let payload = unsafe [UInt8](message.bytes.dropFirst(MessageHeader.byteCount))
        let request = try FrontEndRequest(untrusted: header, payload: payload, descriptors: descriptors?.count ?? 0)
        self.header = nil
        message.removeAll()
        var taken: ReceivedDescriptors? = nil
        swap(&taken, &descriptors)
        try handle(request, header, &taken)
        return true
    }

    /// Reads until the message has `end` bytes. False: not yet.
    private mutating func fill(to end: Int) throws(VhostUserError) -> Bool {
        while message.count < end {
            let isFirst = message.count == 0
            let came: Int
            do {
                came = try isFirst ? receiveFirst(end) : receiveMore(end)
            } catch {
                switch error.code {
                case EAGAIN: return false
                case ECONNRESET, EPIPE: throw isFirst ? .disconnected : .messageTruncated
                case EMSGSIZE:
                    let most = FrontEndRequest.mostRegions
                    throw .descriptorCountInvalid(request: 0, expected: most, found: most + 1)
                default: throw .system(error)
                }
            }
            guard came > 0 else { throw isFirst ? .disconnected : .messageTruncated }
            message.commit(came)
        }
        return true
    }

    /// Descriptors come with a message's first byte.
    private mutating func receiveFirst(_ end: Int) throws(SystemError) -> Int {
        // SAFETY: room in the message buffer, which nobody else touches.
        let new = try unsafe socket.receiveDescriptors(into: message.reserve(end), limit: FrontEndRequest.mostRegions)
        let count = new.byteCount
        descriptors = consume new
        return count
    }

    /// The kernel drops descriptors that come with any other byte.
    private mutating func receiveMore(_ end: Int) throws(SystemError) -> Int {
        // SAFETY: room in the message buffer, which nobody else touches.
        try unsafe socket.receive(into: message.reserve(end - message.count))
    }

    // MARK: requests

    private mutating func handle(
        _ request: FrontEndRequest, _ header: MessageHeader, _ descriptors: inout ReceivedDescriptors?
    ) throws(VhostUserError) {
        switch request {
        case .getFeatures:
            return try reply(header, offered)
        case .setFeatures(let features):
            guard features & ~offered == 0 else { throw .featuresNotOffered(features & ~offered) }
            // Running queues work by the features that they were started with.
            guard features == acknowledged || !anyStarted else { throw .unexpected(request: header.request) }
            acknowledged = features
            // Without protocol features there is no SET_VRING_ENABLE: rings are born enabled.
            if features & CommonFeature.protocolFeatures == 0 {
                for index in 0..<rings.count { rings.rings[index].isEnabled = true }
            }
            device.featuresNegotiated(features)
        case .setOwner, .resetOwner:
            break  // One connection is one owner; RESET_OWNER is deprecated, and to be ignored.
        case .setMemoryTable(let regions):
            guard descriptors != nil else { throw .unexpected(request: header.request) }
            let table = try MemoryTable(regions, &descriptors!)
            for queue in 0..<rings.count where rings.rings[queue].isStarted { device.ringStops(queue, &rings) }
            try rings.move(to: table, features: ringFeatures)
            device.memoryMapped()
        case .setRingSize(let queue, let size):
            let index = try stopped(queue, header)
            guard size <= Device.longestQueue else { throw .fieldInvalid(request: header.request, field: .ringSize) }
            rings.rings[index].size = size
        case .setRingAddresses(let queue, let addresses):
            let index = try known(queue)
            // Said again of a running ring, it may say nothing new.
            guard !rings.rings[index].isStarted || rings.rings[index].addresses == addresses else {
                throw .unexpected(request: header.request)
            }
            rings.rings[index].addresses = addresses
        case .setRingBase(let queue, let base):
            rings.rings[try stopped(queue, header)].base = base
        case .getRingBase(let queue):
            let index = try known(queue)
            let wasRunning = rings.rings[index].isStarted
            if wasRunning { device.ringStops(index, &rings) }
            let base = rings.rings[index].stop()
            device.kickChanged(index)
            if wasRunning { device.ringStopped(index) }
            return try reply(header, UInt64(queue) | UInt64(base) << 32)
        case .setRingKick(let queue):
            try setKick(try known(queue), header, descriptors?.takeFirst())
        case .setRingCall(let queue, _):
            let index = try known(queue)
            let call = descriptors?.takeFirst()
            // Ringing must never block: whatever it is that came, a full one rings already.
            do { try call?.setNonBlocking(true) } catch { throw .system(error) }
            rings.rings[index].call = consume call
            // The old one may have swallowed a call (QEMU masks interrupts by swapping it): once too often does no harm.
            if rings.rings[index].isStarted, let call = rings.rings[index].callDescriptor { EventCounter.signal(call) }
        case .setRingError(let queue, _):
            rings.rings[try known(queue)].error = descriptors?.takeFirst()
        case .getProtocolFeatures:
            return try reply(header, offeredProtocol)
        case .setProtocolFeatures(let features):
            guard features & ~offeredProtocol == 0 else { throw .featuresNotOffered(features & ~offeredProtocol) }
            protocolFeatures = features
        case .getQueueCount:
            return try reply(header, UInt64(device.queuesOffered))
        case .setRingEnable(let queue, let on):
            rings.rings[try known(queue)].isEnabled = on
            // What came while it was disabled has had its kick already.
            if on { rings.kick(Int(queue)) }
        case .getConfiguration(let offset, let size):
            return try replyConfiguration(header, offset: Int(offset), size: Int(size))
        case .setConfiguration:
            // No device here has a field that the driver may write.
            throw .fieldInvalid(request: header.request, field: .configurationRange)
        }
        if header.wantsReply, protocolFeatures & ProtocolFeature.replyAcknowledge != 0 { try reply(header, 0) }
    }

    private var ringFeatures: VirtqueueFeatures {
        VirtqueueFeatures(rawValue: acknowledged & (CommonFeature.indirectDescriptors | CommonFeature.eventIndex))
    }

    private var anyStarted: Bool {
        for index in 0..<rings.count where rings.rings[index].isStarted { return true }
        return false
    }

    private func known(_ queue: UInt32) throws(VhostUserError) -> Int {
        guard queue < UInt32(Device.queueCount) else { throw .queueInvalid(queue) }
        return Int(queue)
    }

    private func stopped(_ queue: UInt32, _ header: MessageHeader) throws(VhostUserError) -> Int {
        let index = try known(queue)
        guard !rings.rings[index].isStarted else { throw .unexpected(request: header.request) }
        return index
    }

    /// The kick descriptor starts a ring, which needs all that was said before: memory, size, addresses, and a modern driver.
    private mutating func setKick(
        _ index: Int, _ header: MessageHeader, _ descriptor: consuming OwnedDescriptor?
    ) throws(VhostUserError) {
        guard let descriptor, let table = rings.table, rings.rings[index].size > 0, rings.rings[index].addresses != nil,
            acknowledged & CommonFeature.version1 != 0
        else { throw .unexpected(request: header.request) }
        do { try descriptor.setNonBlocking(true) } catch { throw .system(error) }
        if !rings.rings[index].isStarted { try rings.rings[index].start(index, in: table, features: ringFeatures) }
        rings.rings[index].kick = consume descriptor
        device.kickChanged(index)
    }

    // MARK: replies

    private func reply(_ header: MessageHeader, _ value: UInt64) throws(VhostUserError) {
        try send(header, littleEndianBytes(value))
    }

    /// The configuration bytes asked for, or (the protocol's way to say no) none.
    private func replyConfiguration(_ header: MessageHeader, offset: Int, size: Int) throws(VhostUserError) {
        let configuration = device.configuration
        var payload: [UInt8] = []
        if offset + size <= configuration.count {
            payload = littleEndianBytes(UInt32(offset)) + littleEndianBytes(UInt32(size)) + littleEndianBytes(UInt32(0))
            payload += configuration[offset..<(offset + size)]
        }
        try send(header, payload)
    }

    /// All or nothing: the peer reads its replies, so the socket's buffer has room for this one, or it floods.
    private func send(_ header: MessageHeader, _ payload: [UInt8]) throws(VhostUserError) {
        var bytes = ByteQueue(capacity: MessageHeader.byteCount + payload.count)
        for byte in littleEndianBytes(header.request) + littleEndianBytes(MessageHeader.version | MessageHeader.reply)
            + littleEndianBytes(UInt32(payload.count)) + payload
        {
            // SAFETY: one byte of room, as made above.
            unsafe bytes.reserve(1)[0] = byte
            bytes.commit(1)
        }
        let count: Int
        do {
            // SAFETY: the queue's bytes, during the call.
            count = try unsafe socket.send(bytes.bytes)
        } catch {
            switch error.code {
            case EAGAIN: throw .flooded
            case EPIPE, ECONNRESET: throw .disconnected
            default: throw .system(error)
            }
        }
        guard count == bytes.count else { throw .flooded }
    }
}

private func littleEndianBytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    (0..<Value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> Value($0 * 8)) }
}
