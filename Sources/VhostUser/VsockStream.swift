/// The state of one stream: counters of both directions (virtio 1.2, 5.10.6.3), and what is owed to the guest.
///
/// Byte counters run freely modulo 2³², as in the packets.
struct VsockStream {
    /// The guest's port.
    let port: UInt32

    // Host to guest.
    private(set) var sent: UInt32 = 0
    private var peerBufferSize: UInt32 = 0
    private var peerForwardCount: UInt32 = 0

    // Guest to host.
    private var received: UInt32 = 0
    private(set) var consumed: UInt32 = 0
    private var announced: UInt32 = 0

    var owesResponse = true
    var owesCreditUpdate = false
    /// There is something to send and no credit, and the guest was not yet told so.
    var owesCreditRequest = false
    private var creditRequested = false

    init(port: UInt32) {
        self.port = port
    }

    /// Bytes that the guest has room for now. The guest may shrink its buffer below what is under way: then there is none.
    var credit: Int {
        max(0, Int(peerBufferSize) - Int(sent &- peerForwardCount))
    }

    /// Takes `buf_alloc` and `fwd_cnt` of a packet.
    mutating func update(_ header: VsockHeader) throws(VsockViolation) {
        let outstanding = sent &- header.forwardCount
        // More than was ever sent: the difference has wrapped.
        guard outstanding <= UInt32(Int32.max) else { throw .forwardCountInvalid(header.forwardCount) }
        // An older value is no lie: Linux fills in the count before it queues the packet, and two threads may overtake each other.
        if outstanding <= sent &- peerForwardCount { peerForwardCount = header.forwardCount }
        peerBufferSize = header.bufferSize
        creditRequested = false
    }

    mutating func countSent(_ bytes: Int) { sent &+= UInt32(truncatingIfNeeded: bytes) }
    mutating func countReceived(_ bytes: UInt32) { received &+= bytes }

    /// The owner consumed `bytes`. The guest is told when it believes that more than half of the buffer is taken.
    mutating func countConsumed(_ bytes: Int, capacity: Int) {
        consumed &+= UInt32(truncatingIfNeeded: bytes)
        if Int(received &- announced) > capacity / 2 { owesCreditUpdate = true }
    }

    /// A packet with `fwd_cnt` has gone out: all of its news is told.
    mutating func announce() {
        announced = consumed
        owesCreditUpdate = false
    }

    /// Nothing goes for want of credit: ask once, until the guest says something.
    mutating func wantCredit() {
        if !creditRequested {
            creditRequested = true
            owesCreditRequest = true
        }
    }
}

/// What happened since the owner looked. Each kind at most once, so nothing a guest does makes it grow.
struct VsockEvents {
    var memoryMapped = false
    var kicks: UInt8 = 0
    var connected: UInt32?
    var received = false
    var writable = false
    var closed: VsockClosure?

    /// In the order in which ``VsockEvent`` declares them.
    mutating func next() -> VsockEvent? {
        if memoryMapped {
            memoryMapped = false
            return .memoryMapped
        }
        if kicks != 0 {
            let queue = kicks.trailingZeroBitCount
            kicks &= kicks - 1
            return .kickChanged(queue: queue)
        }
        if let port = connected {
            connected = nil
            return .connected(port: port)
        }
        if received {
            received = false
            return .received
        }
        if writable {
            writable = false
            return .writable
        }
        if let closure = closed {
            closed = nil
            return .closed(closure)
        }
        return nil
    }
}
