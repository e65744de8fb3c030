internal import CLinux
public import ClientStub
internal import LinuxSystem

extension NBDServer where Service: ~Copyable {
    /// Collects a reply; it leaves when the turn of the loop ends.
    @inline(__always)
    mutating func reply(
        _ index: UInt32, _ client: Int, data: UnsafeMutableRawBufferPointer?, encode: (inout MutableSpan<UInt8>) -> Int
    ) {
        let filling = connections[client].filling
        unsafe connections[client].banks[filling].append(request: index, data: data, encode: encode)
        if !connections[client].isDirty {
            connections[client].isDirty = true
            dirty.append(client)
        }
    }

    /// Collects an error reply.
    mutating func refuse(_ index: UInt32, _ error: NBDError) {
        let client = Int(pending[index].client)
        let request = pending[index].request
        let structured = connections[client].structuredReplies
        unsafe reply(index, client, data: nil) { NBDReply.encodeError(error, to: request, structured: structured, into: &$0) }
    }

    /// Sends what was collected, unless a send is under way: then the rest goes when that is done.
    ///
    /// Most replies fit into the socket's buffer: they go with a plain system call, and the turn of the loop that a
    /// completion would cost is saved. What does not fit goes through the loop.
    mutating func flush(_ client: Int, loop: inout EventLoop, service: inout Service) {
        switch connections[client].phase {
        case .transmission, .draining: break
        case .free, .handshake, .closing: return
        }
        let bank = connections[client].filling
        guard !connections[client].sending, !connections[client].banks[bank].isEmpty else { return }
        connections[client].filling = 1 - bank
        let message = unsafe connections[client].banks[bank].prepare()
        // SAFETY: the message and what it points to live until the bank's requests are finished.
        let count = unsafe CLinux.sendmsg(connections[client].socket, message, 0x4040)  // MSG_DONTWAIT | MSG_NOSIGNAL
        guard count >= 0 else {
            // A full buffer, or an error: the loop waits for the one and tells of the other.
            return send(client, bank: bank, loop: &loop)
        }
        took(client, bank: bank, count, loop: &loop, service: &service)
    }

    private mutating func send(_ client: Int, bank: Int, loop: inout EventLoop) {
        connections[client].sending = true
        let message = unsafe connections[client].banks[bank].prepare()
        unsafe loop.sendMessage(connections[client].socket, message, NBDTag(.send, client: client).event)
    }

    /// A send of the loop is done, or a part of it.
    mutating func sent(_ client: Int, result: Int32, loop: inout EventLoop, service: inout Service) {
        guard connections[client].phase != .free else { return }
        connections[client].sending = false
        if let output = unsafe connections[client].handshakeOutput {
            unsafe sentHandshake(client, output, result: result, loop: &loop, service: &service)
            return
        }
        let bank = 1 - connections[client].filling
        guard connections[client].phase != .closing, result > 0 || result == -EINTR || result == -EAGAIN else {
            close(client, service: &service)
            releaseReplies(client, bank: bank, service: &service)
            return finishClosing(client)
        }
        took(client, bank: bank, max(0, Int(result)), loop: &loop, service: &service)
    }

    /// The socket took `count` bytes of a bank.
    private mutating func took(_ client: Int, bank: Int, _ count: Int, loop: inout EventLoop, service: inout Service) {
        connections[client].lastProgress = loop.now
        guard connections[client].banks[bank].advance(count) else {
            return send(client, bank: bank, loop: &loop)
        }
        releaseReplies(client, bank: bank, service: &service)
        if connections[client].phase == .draining {
            flush(client, loop: &loop, service: &service)
            return closeIfDrained(client, service: &service)
        }
        // Room for more requests, and perhaps for the buffer that one was waiting for.
        advance(client, loop: &loop, service: &service)
        flush(client, loop: &loop, service: &service)
    }

    private mutating func sentHandshake(
        _ client: Int, _ output: UnsafeMutableRawBufferPointer, result: Int32, loop: inout EventLoop, service: inout Service
    ) {
        let retry = result == -EINTR || result == -EAGAIN
        guard connections[client].phase != .closing, result > 0 || retry else {
            close(client, service: &service)
            return finishClosing(client)
        }
        connections[client].handshakeSent += max(0, Int(result))
        if connections[client].handshakeSent < output.count { return sendHandshake(client, loop: &loop) }
        unsafe output.deallocate()
        unsafe connections[client].handshakeOutput = nil
        if connections[client].closesAfterOutput { return close(client, service: &service) }
        flush(client, loop: &loop, service: &service)
        advance(client, loop: &loop, service: &service)
        closeIfDrained(client, service: &service)
    }

    /// The replies of a bank are sent, or nobody wants them: their requests are over.
    mutating func releaseReplies(_ client: Int, bank: Int, service: inout Service) {
        // By index: the array is only read here, and `finish` changes other things.
        let count = connections[client].banks[bank].requests.count
        for position in 0..<count { finish(connections[client].banks[bank].requests[position], service: &service) }
        connections[client].banks[bank].removeAll()
    }

    /// Cuts off who does not get on with the handshake, and who holds buffers that others need without moving a byte.
    public mutating func deadlineReached(loop: inout EventLoop, service: inout Service) {
        let now = loop.now
        lastTick = now
        if !accepting && !stopping {
            accepting = true
            loop.acceptMany(listener.rawValue, NBDTag.accept.event)
        }
        var shaking = false
        for client in connections.indices {
            let idle = now &- connections[client].lastProgress
            switch connections[client].phase {
            case .handshake:
                // As a whole: who sends a byte now and then does not get on either.
                if now &- connections[client].openedAt >= limits.handshake {
                    close(client, service: &service)
                } else {
                    shaking = true
                    if isRefused(client, now, service) { advance(client, loop: &loop, service: &service) }
                }
            case .transmission, .draining:
                // Without one of these it waits for the disk, which is not its fault.
                let owes = connections[client].sending || connections[client].writing != NBDConnection.none
                if !waiting.isEmpty || !starving.isEmpty, owes, connections[client].heldBytes > 0, idle >= limits.stall {
                    close(client, service: &service)
                }
            case .free, .closing:
                break
            }
        }
        nextDeadline = shaking || !waiting.isEmpty || !starving.isEmpty ? now + Self.tick : .max
    }
}
