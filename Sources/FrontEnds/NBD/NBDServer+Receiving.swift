internal import CLinux
public import ClientStub

extension NBDServer where Service: ~Copyable {
    /// A receive is done: bytes of the handshake, of requests, or of a write's data.
    mutating func received(_ client: Int, result: Int32, loop: inout EventLoop, service: inout Service) {
        connections[client].receiving = false
        let direct = connections[client].directRoom
        connections[client].directRoom = 0
        switch connections[client].phase {
        case .free:
            return
        case .closing:
            dropWrite(client, service: &service)
            return finishClosing(client)
        case .draining:
            dropWrite(client, service: &service)
            return closeIfDrained(client, service: &service)
        case .handshake, .transmission:
            break
        }
        guard result > 0 else {
            if result == -EINTR || result == -EAGAIN {
                return advance(client, loop: &loop, service: &service)
            }
            // 0: the client sends nothing more, but may still read its answers.
            if result == 0 && connections[client].phase == .transmission {
                return drain(client, service: &service)
            }
            return close(client, service: &service)
        }
        connections[client].lastProgress = loop.now
        let count = Int(result)
        connections[client].machine?.take(min(count, direct))
        if count > direct { connections[client].received(count - direct) }
        advance(client, loop: &loop, service: &service)
    }

    /// Goes as far as the received bytes, the limits and the buffers allow, and then receives more if that would help.
    mutating func advance(_ client: Int, loop: inout EventLoop, service: inout Service) {
        guard !connections[client].receiving else { return }
        switch connections[client].phase {
        case .handshake: advanceHandshake(client, loop: &loop, service: &service)
        case .transmission: break
        case .free, .draining, .closing: return
        }
        guard connections[client].phase == .transmission else { return }
        if takeRequests(client, service: &service) { receive(client) }
    }

    /// True: everything that was received is understood, and more is needed.
    private mutating func takeRequests(_ client: Int, service: inout Service) -> Bool {
        if connections[client].waiting != NBDConnection.none && !retryWaiting(client, service: &service) { return false }
        while true {
            if connections[client].writing != NBDConnection.none && !takeData(client, service: &service) { return true }
            // A reply belongs to every request, so this bounds the replies too.
            if connections[client].requests >= limits.requestsPerClient { return false }
            let event = connections[client].withStaged { connection, staged in
                var position = 0
                let event = connection.machine?.next(staged, at: &position) ?? .broken
                connection.consume(position)
                return event
            }
            switch event {
            case .needsInput:
                return true
            case .request(let request, let command):
                if command == .write { connections[client].lastWasLongWrite = request.length >= NBDLimits.longWrite }
                let index = pending.add(request, command, client: client)
                connections[client].requests += 1
                if !begin(index, client, service: &service) { return false }
            case .refused(let request, let error):
                let index = pending.add(request, .flush, client: client)
                connections[client].requests += 1
                refuse(index, error)
            case .disconnect:
                drain(client, service: &service)
                return false
            case .broken:
                close(client, service: &service)
                return false
            }
        }
    }

    /// Moves what was received of a write's data to its buffer. True: it is complete and on its way.
    private mutating func takeData(_ client: Int, service: inout Service) -> Bool {
        let index = connections[client].writing
        guard let target = unsafe data(of: index, service: service), let missing = connections[client].machine?.payload else {
            return false
        }
        if missing > 0 {
            let length = Int(pending[index].request.length)
            // SAFETY: the memory has as many bytes as the request is long; the missing ones are its last.
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[length - missing..<length])
            let moved = unsafe connections[client].copyStaged(to: rest, count: missing)
            connections[client].machine?.take(moved)
            if moved < missing { return false }
        }
        connections[client].writing = NBDConnection.none
        submit(index, service: &service)
        return true
    }

    // MARK: the socket

    /// Wants more bytes: whatever comes next is taken by ``lookAround(loop:service:)``, or by the loop when the stub sleeps.
    mutating func receive(_ client: Int) {
        guard !connections[client].receiving, !connections[client].isHungry else { return }
        connections[client].isHungry = true
        hungry.append(client)
    }

    public mutating func lookAround(loop: inout EventLoop, service: inout Service) -> Bool {
        // A system call for each is cheaper than arming only as long as nearly each brings something.
        guard hungry.count <= NBDLimits.lookedAt else {
            sleeps(loop: &loop, service: &service)
            return false
        }
        let count = hungry.count
        var found = false
        for position in 0..<count {
            // By index: who stays hungry queues up again, behind these.
            let client = hungry[position]
            guard connections[client].isHungry else { continue }
            let message = unsafe receiveMessage(client, service: &service)
            // SAFETY: nothing else uses the message's memory during the call.
            let result = unsafe CLinux.recvmsg(connections[client].socket, message, 0x40)  // MSG_DONTWAIT
            if result < 0, clinux_errno() == EAGAIN {
                hungry.append(client)
                continue
            }
            connections[client].isHungry = false
            found = true
            received(client, result: result < 0 ? -clinux_errno() : Int32(clamping: result), loop: &loop, service: &service)
        }
        hungry.removeSubrange(0..<count)
        return found
    }

    public mutating func sleeps(loop: inout EventLoop, service: inout Service) {
        for client in hungry where connections[client].isHungry {
            connections[client].isHungry = false
            connections[client].receiving = true
            let message = unsafe receiveMessage(client, service: &service)
            unsafe loop.receiveMessage(connections[client].socket, message, NBDTag(.receive, client: client).event)
        }
        hungry.removeAll(keepingCapacity: true)
    }

    /// A message that receives the rest of a write's data straight into its buffer, and whatever follows into the receive buffer.
    private mutating func receiveMessage(_ client: Int, service: inout Service) -> UnsafeMutablePointer<msghdr> {
        let index = connections[client].writing
        connections[client].directRoom = 0
        guard index != NBDConnection.none, let target = unsafe data(of: index, service: service),
            let missing = connections[client].machine?.payload, missing > 0
        else { return unsafe connections[client].receiveMessage(into: nil) }
        connections[client].directRoom = missing
        let length = Int(pending[index].request.length)
        // SAFETY: the memory has as many bytes as the request is long, and stays in place until the write is submitted.
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[length - missing..<length])
        return unsafe connections[client].receiveMessage(into: rest)
    }

    // MARK: handshake

    private mutating func advanceHandshake(_ client: Int, loop: inout EventLoop, service: inout Service) {
        // One answer at a time; before the first session nobody knows what could be offered.
        if connections[client].sending || connections[client].closesAfterOutput { return }
        let isRefused = isRefused(client, loop.now, service)
        guard service.exportsKnown || isRefused else { return }
        var output: [UInt8] = []
        let exports = exports
        connections[client].handshake.refusal = isRefused ? "the DD/OS of this disk is down and its requests fail: see drover ps" : nil
        let step = connections[client].withStaged { connection, staged in
            let (consumed, step) = connection.handshake.consume(staged, exports: exports, output: &output)
            connection.consume(consumed)
            return step
        }
        switch step {
        case .needsInput:
            break
        case .transmission(let export, let structuredReplies):
            connections[client].phase = .transmission
            connections[client].export = export
            connections[client].structuredReplies = structuredReplies
            connections[client].machine = NBDTransmission(
                export: exports[export], structuredReplies: structuredReplies,
                allocation: connections[client].handshake.allocationExport == export)
        case .close:
            connections[client].closesAfterOutput = true
        }
        if output.isEmpty {
            if connections[client].closesAfterOutput { return close(client, service: &service) }
        } else {
            answer(client, output, loop: &loop)
        }
        if step == .needsInput { receive(client) }
    }

    /// Whether this client has waited for the first session as long as its requests would have.
    func isRefused(_ client: Int, _ now: UInt64, _ service: borrowing Service) -> Bool {
        !service.exportsKnown && now &- connections[client].openedAt >= service.handshakePatience
    }

    /// Sends bytes of the handshake, one answer at a time.
    mutating func answer(_ client: Int, _ bytes: [UInt8], loop: inout EventLoop) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        unsafe copy.copyBytes(from: bytes)
        unsafe connections[client].handshakeOutput = copy
        connections[client].handshakeSent = 0
        sendHandshake(client, loop: &loop)
    }

    mutating func sendHandshake(_ client: Int, loop: inout EventLoop) {
        guard let output = unsafe connections[client].handshakeOutput else { return }
        connections[client].sending = true
        // SAFETY: the output is freed only after the send's completion.
        let rest = unsafe UnsafeRawBufferPointer(rebasing: output[connections[client].handshakeSent...])
        unsafe loop.send(connections[client].socket, rest, NBDTag(.send, client: client).event)
    }
}
