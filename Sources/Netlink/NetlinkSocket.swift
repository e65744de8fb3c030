internal import CLinux
public import LinuxSystem

/// A message that the kernel sent: its type, and what follows the header.
struct NetlinkMessage {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    let payload: ArraySlice<UInt8>
}

/// A netlink socket (netlink(7)): one request at a time, each with its answer, or notifications.
///
/// It belongs to the network namespace in which it was made, whatever namespace its users are in.
public struct NetlinkSocket: ~Copyable {
    /// For a loop that waits for notifications.
    public let descriptor: OwnedDescriptor
    private var sequence: UInt32 = 0
    private var buffer: [UInt8]

    /// How long an answer may take, in nanoseconds. The kernel answers within the call; a driver may take its lock first.
    private static let patience: UInt64 = 10_000_000_000
    /// The kernel sends nothing larger to a reader with this much room.
    private static let bufferBytes = 32768
    /// MSG_DONTWAIT, an enum in glibc.
    private static let dontWait: Int32 = 0x40

    /// A socket in the namespace of the calling thread.
    init(protocol number: Int32) throws(NetlinkError) {
        let raw = clinux_netlink_socket(number)
        guard raw >= 0 else { throw NetlinkError(code: clinux_errno(), request: "netlink socket") }
        descriptor = OwnedDescriptor(adopting: raw)
        buffer = [UInt8](repeating: 0, count: Self.bufferBytes)
    }

    /// Joins a multicast group: its notifications come to this socket from now on.
    func join(group: UInt32) throws(NetlinkError) {
        guard clinux_netlink_join(descriptor.rawValue, group) == 0 else {
            throw NetlinkError(code: clinux_errno(), request: "netlink group")
        }
    }

    /// Sends a request, and gives `each` every answer that is not an acknowledgement.
    mutating func perform(_ request: NetlinkRequest, each: (NetlinkMessage) -> Void = { _ in }) throws(NetlinkError) {
        sequence &+= 1
        let message = request.finished(sequence: sequence)
        do throws(SystemError) {
            _ = try descriptor.send(message)
        } catch {
            throw NetlinkError(error, request.name)
        }
        let deadline = Clock.monotonic() + Self.patience
        while true {
            for answer in try receive(request.name, until: deadline) where answer.sequence == sequence {
                switch Int32(answer.type) {
                case NLMSG_ERROR:
                    try Self.check(answer, request.name)
                    return
                case NLMSG_DONE:
                    // A dump that failed half-way says so in its last message.
                    if answer.payload.count >= 4 {
                        let code = Int32(bitPattern: answer.payload.u32(at: 0))
                        if code < 0 { throw NetlinkError(code: 0 &- code, request: request.name) }
                    }
                    return
                case NLMSG_NOOP: break
                default:
                    each(answer)
                    if request.answer == .object { return }
                }
            }
        }
    }

    /// Takes notifications that are there, without waiting.
    ///
    /// - Returns: false: some were lost (ENOBUFS), so that the state has to be read anew.
    mutating func takeNotifications(_ each: (NetlinkMessage) -> Void) throws(NetlinkError) -> Bool {
        var isComplete = true
        // A link that flaps without end must not keep the caller here for ever.
        for _ in 0..<256 {
            do throws(NetlinkError) {
                let messages = try receive("link notification", flags: Self.dontWait)
                for message in messages { each(message) }
            } catch {
                if error.code == EAGAIN { return isComplete }
                guard error.code == ENOBUFS else { throw error }
                isComplete = false
            }
        }
        return isComplete
    }

    // MARK: receiving

    private mutating func receive(_ request: StaticString, until deadline: UInt64) throws(NetlinkError) -> [NetlinkMessage] {
        while true {
            // The kernel answers most requests within the call that sent them: the answer is there, and waiting for it one call too many.
            do throws(NetlinkError) { return try receive(request, flags: Self.dontWait) } catch {
                guard error.code == EAGAIN else { throw error }
            }
            let now = Clock.monotonic()
            guard now < deadline else { throw NetlinkError(code: ETIME, request: request) }
            var entry = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
            // SAFETY: one entry, alive during the call.
            let ready = unsafe poll(&entry, 1, Int32((deadline - now) / 1_000_000) + 1)
            if ready < 0, clinux_errno() != EINTR { throw NetlinkError(code: clinux_errno(), request: request) }
        }
    }

    private mutating func receive(_ request: StaticString, flags: Int32) throws(NetlinkError) -> [NetlinkMessage] {
        let raw = descriptor.rawValue
        var sender: UInt32 = 0
        var came: Int64 = -1
        repeat {
            // SAFETY: the buffer and `sender` outlive the call, the count goes along.
            came = unsafe buffer.withUnsafeMutableBytes { unsafe clinux_netlink_receive(raw, $0.baseAddress, $0.count, flags, &sender) }
        } while came < 0 && clinux_errno() == EINTR
        guard came >= 0 else { throw NetlinkError(code: clinux_errno(), request: request) }
        // Other processes can write to this socket too; only the kernel is believed.
        guard sender == 0 else { return [] }
        guard came <= buffer.count else { throw NetlinkError(code: EMSGSIZE, request: request) }
        return Self.messages(Array(buffer.prefix(Int(came)))[...])
    }

    /// Cuts a datagram into messages; ends at the first that claims more bytes than there are.
    static func messages(_ datagram: ArraySlice<UInt8>) -> [NetlinkMessage] {
        var rest = datagram
        var messages: [NetlinkMessage] = []
        while rest.count >= NetlinkRequest.headerBytes {
            let length = rest.u32(at: 0)
            guard length >= UInt32(NetlinkRequest.headerBytes), length <= UInt32(rest.count) else { break }
            messages.append(
                NetlinkMessage(
                    type: rest.u16(at: 4), flags: rest.u16(at: 6), sequence: rest.u32(at: 8),
                    payload: rest.dropFirst(NetlinkRequest.headerBytes).prefix(Int(length) - NetlinkRequest.headerBytes)))
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        return messages
    }

    /// Throws what an NLMSG_ERROR message says: −errno, the request's header, and attributes if NLM_F_ACK_TLVS is set.
    private static func check(_ answer: NetlinkMessage, _ request: StaticString) throws(NetlinkError) {
        guard answer.payload.count >= 4 else { throw NetlinkError(code: EBADMSG, request: request) }
        let code = Int32(bitPattern: answer.payload.u32(at: 0))
        guard code < 0 else { return }
        var detail = ""
        // With NETLINK_CAP_ACK the original request is cut off behind its header when NLM_F_CAPPED is set.
        let isCapped = Int32(answer.flags) & NLM_F_CAPPED != 0
        if Int32(answer.flags) & NLM_F_ACK_TLVS != 0, answer.payload.count >= 20 {
            let original = isCapped ? UInt32(NetlinkRequest.headerBytes) : answer.payload.u32(at: 4)
            let skip = 4 + (UInt64(original) + 3) & ~3
            if skip <= UInt64(answer.payload.count) {
                let attributes = NetlinkAttributes(answer.payload.dropFirst(Int(skip)))
                detail = attributes.first(Int(NLMSGERR_ATTR_MSG.rawValue))?.text ?? ""
            }
        }
        throw NetlinkError(code: code == .min ? EBADMSG : -code, request: request, detail: detail)
    }
}
