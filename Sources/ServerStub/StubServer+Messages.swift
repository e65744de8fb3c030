internal import CLinux
internal import LinuxSystem
internal import VirtioMessage

/// What a completion belongs to: the top byte of io_uring's user data.
enum CompletionKind {
    static let receive: UInt64 = 1 << 56
    static let send: UInt64 = 2 << 56
    static let request: UInt64 = 3 << 56
    static let mask: UInt64 = 0xFF << 56
}

extension StubServer {
    /// Takes all completions that are there.
    /// - Returns: whether there were any.
    mutating func takeCompletions() -> Bool {
        var any = false
        while let completion = ring.nextCompletion() {
            any = true
            switch completion.userData & CompletionKind.mask {
            case CompletionKind.receive: received(completion.result)
            case CompletionKind.send: sent(completion.result)
            default: finishRequest(Int(completion.userData & ~CompletionKind.mask), completion.result)
            }
        }
        return any
    }

    private mutating func received(_ result: Int32) {
        isReceiving = false
        if result > 0 {
            inbox.filled(Int(result))
        } else if result == 0 {
            finish(.closed)
        } else if -result != EINTR, -result != EAGAIN {
            // A peer that died with unread bytes resets the connection: closed all the same.
            finish(-result == ECONNRESET ? .closed : .failed(-result))
        }
    }

    private mutating func sent(_ result: Int32) {
        isSending = false
        if result >= 0 {
            outbox.sent(Int(result))
        } else if -result != EINTR, -result != EAGAIN {
            finish(-result == EPIPE || -result == ECONNRESET ? .closed : .failed(-result))
        }
    }

    mutating func startReceiving() {
        guard !isReceiving, end == nil else { return }
        do throws(SystemError) {
            // SAFETY: the inbox's memory does not move, and nothing else touches `unfilled` before the completion.
            try ring.push(unsafe .receive(socket.rawValue, into: inbox.unfilled), userData: CompletionKind.receive)
            isReceiving = true
        } catch {
            finish(.failed(error.code))
        }
    }

    /// Sends what the outbox holds, unless a send is under way.
    mutating func startSending() {
        while outbox.freeBytes > VirtioMessageLimits.maximumMessageSize, let line = log.takeUnsent() {
            // Named, not a temporary: Embedded Swift freed such a one before its span was read.
            let bytes = Array(line.utf8)
            do throws(MessageError) { try outbox.log(bytes.span) } catch { break }
        }
        guard !isSending, !outbox.isEmpty, end == nil else { return }
        do throws(SystemError) {
            // SAFETY: bytes in `pending` stay where and as they are until `sent`.
            try ring.push(unsafe .send(socket.rawValue, from: outbox.pending), userData: CompletionKind.send)
            isSending = true
        } catch {
            finish(.failed(error.code))
        }
    }

    /// Acts on the messages that are complete, as long as there is room for their answers.
    mutating func handleMessages() {
        // While a receive is under way the inbox belongs to the kernel, and holds no complete message.
        guard !isReceiving else { return }
        do throws(MessageError) {
            while end == nil {
                // No room: the client does not read its answers. What it sent waits, and the socket's buffer fills.
                guard outbox.freeBytes >= DeviceBus.mostAnswerBytes else { return }
                guard let header = try inbox.next() else { break }
                handleMessage(header)
            }
        } catch {
            complain("the stream of messages has lost its framing")
            finish(.badStream)
        }
        startReceiving()
    }

    private mutating func handleMessage(_ header: MessageHeader) {
        do throws(MessageError) {
            let message = try DriverMessage(untrusted: header, inbox.message)
            switch try bus.handle(header, message, outbox: &outbox) {
            case .nothing: break
            case .reset(let device): try bus.finishResets(device, outbox: &outbox)
            case .pinged: doubtSilence()
            case .inject(let fault): finish(.injected(fault))
            case .complain(let text): complain(text)
            }
        } catch {
            complain("message " + decimal(Int(header.id)) + " of " + decimal(Int(header.size)) + " bytes is malformed")
        }
    }
}
