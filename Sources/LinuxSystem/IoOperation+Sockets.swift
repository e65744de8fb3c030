public import CLinux

extension IoOperation {
    /// `accept4` with close-on-exec: completes with the new descriptor. `multishot`: again for every connection.
    @inlinable
    public static func accept(_ listener: Int32, multishot: Bool = false) -> IoOperation {
        var operation = IoOperation(IORING_OP_ACCEPT, listener, flags: 524288)  // SOCK_CLOEXEC
        operation.priority = multishot ? 1 : 0  // IORING_ACCEPT_MULTISHOT
        return operation
    }

    /// `connect`. The address must stay until submission.
    @inlinable
    public static func connect(_ descriptor: Int32, _ address: UnsafePointer<sockaddr>, length: UInt32) -> IoOperation {
        // The address's length travels in `off` (io_connect_prep).
        // SAFETY, here and below: the caller keeps what an address names alive until the completion, as each function says.
        unsafe IoOperation(IORING_OP_CONNECT, descriptor, offset: UInt64(length), address: IoOperation.address(address))
    }

    /// `recv`: completes with how many bytes came; 0 when the peer has closed. `MSG_WAITALL` waits for all of them.
    @inlinable
    public static func receive(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, flags: Int32 = 0) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_RECV, descriptor, address: address(buffer.baseAddress),
            length: UInt32(truncatingIfNeeded: buffer.count), flags: UInt32(bitPattern: flags))
    }

    /// `send` without SIGPIPE. With `MSG_WAITALL` the kernel goes on until all bytes are sent.
    @inlinable
    public static func send(_ descriptor: Int32, from buffer: UnsafeRawBufferPointer, flags: Int32 = 0) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_SEND, descriptor, address: address(buffer.baseAddress),
            length: UInt32(truncatingIfNeeded: buffer.count), flags: UInt32(bitPattern: flags) | 0x4000)  // MSG_NOSIGNAL
    }

    /// `recvmsg`. The header and all it points to must stay until completion.
    @inlinable
    public static func receiveMessage(_ descriptor: Int32, _ message: UnsafeMutablePointer<msghdr>, flags: Int32 = 0) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_RECVMSG, descriptor, address: address(message), length: 1,
            flags: UInt32(bitPattern: flags) | 0x4000_0000)  // MSG_CMSG_CLOEXEC
    }

    /// `sendmsg` without SIGPIPE. The header and vectors must stay until submission, the data until completion.
    @inlinable
    public static func sendMessage(_ descriptor: Int32, _ message: UnsafePointer<msghdr>, flags: Int32 = 0) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_SENDMSG, descriptor, address: address(message), length: 1,
            flags: UInt32(bitPattern: flags) | 0x4000)  // MSG_NOSIGNAL
    }

    /// `shutdown` of both directions.
    @inlinable
    public static func shutdown(_ descriptor: Int32) -> IoOperation {
        IoOperation(IORING_OP_SHUTDOWN, descriptor, length: 2)  // SHUT_RDWR
    }
}
