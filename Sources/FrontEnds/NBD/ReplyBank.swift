internal import CLinux

/// Replies that are collected, and then leave with one `sendmsg`: headers in memory of its own, the data of reads
/// where it is. A connection has two, one that fills while the other is being sent.
///
/// The owner of the memory frees it; it stays in place while a send is under way.
@safe struct ReplyBank {
    private var headers: UnsafeMutableBufferPointer<UInt8>
    private var vectors: UnsafeMutableBufferPointer<iovec>
    let message: UnsafeMutablePointer<msghdr>
    private var headerBytes = 0
    private var vectorCount = 0
    private var firstVector = 0
    /// The requests whose replies are in here; their buffers are free when all is sent.
    private(set) var requests: [UInt32] = []

    var isEmpty: Bool { vectorCount == 0 }

    static func memory(replies: Int) -> Int {
        unsafe replies * (NBDReply.maximumSize + 2 * MemoryLayout<iovec>.stride) + MemoryLayout<msghdr>.stride
    }

    /// - Parameter memory: of ``memory(replies:)`` bytes, 16-byte aligned.
    init(memory: UnsafeMutableRawPointer, replies: Int) {
        // SAFETY: the three parts lie one after the other in the memory, largest alignment first.
        unsafe message = memory.bindMemory(to: msghdr.self, capacity: 1)
        unsafe message.initialize(to: msghdr())
        let afterMessage = unsafe memory + MemoryLayout<msghdr>.stride
        let vectorMemory = unsafe afterMessage.bindMemory(to: iovec.self, capacity: 2 * replies)
        unsafe vectors = UnsafeMutableBufferPointer(start: vectorMemory, count: 2 * replies)
        let headerMemory = unsafe (afterMessage + 2 * replies * MemoryLayout<iovec>.stride)
            .bindMemory(to: UInt8.self, capacity: replies * NBDReply.maximumSize)
        unsafe headers = UnsafeMutableBufferPointer(start: headerMemory, count: replies * NBDReply.maximumSize)
        requests.reserveCapacity(replies)
    }

    /// Adds a reply: `encode` writes its header and says how long it is; `data` follows it.
    ///
    /// A connection has never more requests than the bank has room for replies.
    @inline(__always)
    mutating func append(request: UInt32, data: UnsafeMutableRawBufferPointer?, encode: (inout MutableSpan<UInt8>) -> Int) {
        let start = headerBytes
        // SAFETY: subscripts check the bounds; the span does not outlive this call.
        var span = unsafe headers.extracting(start..<start + NBDReply.maximumSize).mutableSpan
        let length = encode(&span)
        headerBytes += length
        let base = unsafe UnsafeMutableRawPointer(headers.baseAddress! + start)
        // Headers without data between them lie side by side: one vector for all.
        if vectorCount > 0, unsafe vectors[vectorCount - 1].iov_base + vectors[vectorCount - 1].iov_len == base {
            unsafe vectors[vectorCount - 1].iov_len += length
        } else {
            unsafe vectors[vectorCount] = iovec(iov_base: base, iov_len: length)
            vectorCount += 1
        }
        if let data = unsafe data {
            unsafe vectors[vectorCount] = iovec(iov_base: data.baseAddress, iov_len: data.count)
            vectorCount += 1
        }
        requests.append(request)
    }

    /// The message with everything that is not sent yet.
    mutating func prepare() -> UnsafePointer<msghdr> {
        // SAFETY: the message and the vectors live as long as the connection's memory.
        unsafe message.pointee.msg_iov = vectors.baseAddress! + firstVector
        unsafe message.pointee.msg_iovlen = vectorCount - firstVector
        return unsafe UnsafePointer(message)
    }

    /// Notes that `count` bytes were sent. True: all of them.
    mutating func advance(_ count: Int) -> Bool {
        var left = count
        while firstVector < vectorCount {
            // SAFETY: subscripts check the bounds; the pointer moves within its vector.
            let length = unsafe vectors[firstVector].iov_len
            if left < length {
                unsafe vectors[firstVector].iov_base += left
                unsafe vectors[firstVector].iov_len -= left
                return false
            }
            left -= length
            firstVector += 1
        }
        return true
    }

    mutating func removeAll() {
        headerBytes = 0
        vectorCount = 0
        firstVector = 0
        requests.removeAll(keepingCapacity: true)
    }
}
