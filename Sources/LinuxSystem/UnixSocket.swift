import CLinux

/// Stream sockets in the file system, and the descriptors that travel over them.
public enum UnixSocket {
    /// The longest path that fits in a socket address, in bytes.
    public static let longestPath = 107

    /// Creates a socket file and listens. A socket left behind by a dead process is replaced; whoever may run twice takes
    /// a lock of its own first. Mode 0600. `ENAMETOOLONG` past `longestPath` bytes, `EADDRINUSE` where something else than a socket
    /// is, which stays as it is.
    public static func listen(path: String, backlog: Int32 = 64) throws(SystemError) -> OwnedDescriptor {
        let socket = OwnedDescriptor(adopting: try retrying("socket") { clinux_socket_unix_stream() })
        guard path.utf8.count <= longestPath else { throw SystemError(code: ENAMETOOLONG, call: "bind") }
        try removeSocket(path)
        let descriptor = socket.rawValue
        // Permissions come from the socket's own mode, which bind copies: no moment in which others could connect.
        try retrying("fchmod") { fchmod(descriptor, 0o600) }
        // SAFETY: the C string lives as long as the call.
        try retrying("bind") { unsafe path.withCString { unsafe clinux_bind_unix(descriptor, $0) } }
        try retrying("listen") { CLinux.listen(descriptor, backlog) }
        return socket
    }

    /// Makes way for a new socket. A path is written by people: what is there may be a disk's only copy.
    private static func removeSocket(_ path: String) throws(SystemError) {
        let found: FileStatus
        do throws(SystemError) {
            found = try FileStatus(withoutFollowing: path)
        } catch {
            if error.code == ENOENT { return }
            throw error
        }
        guard found.isSocket else { throw SystemError(code: EADDRINUSE, call: "bind") }
        try Directory.removeFile(path)
    }

    /// Removes the socket file that ``listen(path:backlog:)`` has made, unless something else is there by now.
    public static func remove(_ path: String, made: FileStatus) {
        guard let found = try? FileStatus(withoutFollowing: path), found.isSocket, found.isSameFile(as: made) else { return }
        try? Directory.removeFile(path)
    }

    /// Connects. `ENOENT` and `ECONNREFUSED` say that nobody listens.
    public static func connect(path: String) throws(SystemError) -> OwnedDescriptor {
        let socket = OwnedDescriptor(adopting: try retrying("socket") { clinux_socket_unix_stream() })
        let descriptor = socket.rawValue
        // SAFETY: the C string lives as long as the call.
        try retrying("connect") { unsafe path.withCString { unsafe clinux_connect_unix(descriptor, $0) } }
        return socket
    }

    /// Takes the next connection of a listening socket; `EAGAIN` if it is non-blocking and there is none.
    public static func accept(on listener: borrowing OwnedDescriptor) throws(SystemError) -> OwnedDescriptor {
        let descriptor = listener.rawValue
        return OwnedDescriptor(adopting: try retrying("accept") { clinux_accept_cloexec(descriptor) })
    }

    /// Two connected sockets.
    public static func pair() throws(SystemError) -> DescriptorPair {
        var both: (Int32, Int32) = (-1, -1)
        // SAFETY: the tuple has the layout of int[2].
        try retrying("socketpair") {
            unsafe withUnsafeMutableBytes(of: &both) {
                unsafe clinux_socketpair_stream($0.baseAddress!.assumingMemoryBound(to: Int32.self))
            }
        }
        return DescriptorPair(first: OwnedDescriptor(adopting: both.0), second: OwnedDescriptor(adopting: both.1))
    }
}

/// Two descriptors that belong together. (A tuple cannot hold noncopyable values.)
public struct DescriptorPair: ~Copyable {
    public var first: OwnedDescriptor
    public var second: OwnedDescriptor

    public init(first: consuming OwnedDescriptor, second: consuming OwnedDescriptor) {
        self.first = first
        self.second = second
    }

    /// Calls with both, each as a value of its own.
    public consuming func split<Result: ~Copyable, Failure: Error>(
        _ body: (consuming OwnedDescriptor, consuming OwnedDescriptor) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(first, second)
    }
}

/// What one `receive` brought: bytes and descriptors. Descriptors not taken are closed.
public struct ReceivedDescriptors: ~Copyable {
    /// The most that one message may carry (SCM_RIGHTS, as Drover uses it).
    public static let most = 32

    private var numbers: [Int32]

    /// How many bytes came; 0 when the peer has closed.
    public let byteCount: Int

    init(byteCount: Int, numbers: [Int32]) {
        self.byteCount = byteCount
        self.numbers = numbers
    }

    deinit {
        for number in numbers { _ = close(number) }
    }

    /// How many descriptors are left to take.
    public var count: Int { numbers.count }

    /// The first descriptor that has not been taken yet.
    public mutating func takeFirst() -> OwnedDescriptor? {
        if numbers.isEmpty { return nil }
        return OwnedDescriptor(adopting: numbers.removeFirst())
    }
}

extension OwnedDescriptor {
    /// `send(2)` without SIGPIPE: how many bytes went. `EAGAIN` when non-blocking and full.
    public borrowing func send(_ bytes: UnsafeRawBufferPointer, flags: Int32 = 0) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: the caller's buffer, with its own count.
        return Int(
            try retrying("send") {
                unsafe clinux_send_with_fds(descriptor, bytes.baseAddress, bytes.count, nil, 0, flags)
            })
    }

    /// `sendmsg(2)` with descriptors (SCM_RIGHTS) on the first byte; the peer gets copies. At most 32, and at least one byte.
    public borrowing func send(
        _ bytes: UnsafeRawBufferPointer, descriptors: [Int32], flags: Int32 = 0
    ) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: both buffers outlive the call, with their own counts.
        return Int(
            try retrying("sendmsg") {
                unsafe descriptors.withUnsafeBufferPointer {
                    unsafe clinux_send_with_fds(
                        descriptor, bytes.baseAddress, bytes.count, $0.baseAddress, Int32($0.count), flags)
                }
            })
    }

    /// The same for bytes in an array: how many went. For control messages.
    public borrowing func send(_ bytes: [UInt8], descriptors: [Int32] = [], flags: Int32 = 0) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: both arrays outlive the call, with their own counts.
        return Int(
            try retrying("sendmsg") {
                unsafe bytes.withUnsafeBytes { bytes in
                    unsafe descriptors.withUnsafeBufferPointer {
                        unsafe clinux_send_with_fds(
                            descriptor, bytes.baseAddress, bytes.count, $0.baseAddress, Int32($0.count), flags)
                    }
                }
            })
    }

    /// `recv(2)`: how many bytes came; 0 when the peer has closed. `EAGAIN` when non-blocking and empty.
    public borrowing func receive(into buffer: UnsafeMutableRawBufferPointer, flags: Int32 = 0) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: the caller's buffer, with its own count.
        return try retrying("recv") { unsafe recv(descriptor, buffer.baseAddress, buffer.count, flags) }
    }

    /// `recvmsg(2)` with descriptors. More than `limit` (or than 32) are all closed, and it fails with `EMSGSIZE`.
    public borrowing func receiveDescriptors(
        into buffer: UnsafeMutableRawBufferPointer, limit: Int = ReceivedDescriptors.most, flags: Int32 = 0
    ) throws(SystemError) -> ReceivedDescriptors {
        let descriptor = rawValue
        var numbers = [Int32](repeating: -1, count: min(limit, ReceivedDescriptors.most))
        var found: Int32 = 0
        // SAFETY: both buffers outlive the call; `found` says how many fit.
        let came = try retrying("recvmsg") {
            unsafe numbers.withUnsafeMutableBufferPointer {
                found = Int32($0.count)
                return unsafe clinux_receive_with_fds(
                    descriptor, buffer.baseAddress, buffer.count, $0.baseAddress, &found, flags)
            }
        }
        numbers.removeLast(numbers.count - Int(found))
        return ReceivedDescriptors(byteCount: Int(came), numbers: numbers)
    }

    /// The process at the other end of a Unix socket, when it connected (SO_PEERCRED).
    public borrowing func peerProcess() throws(SystemError) -> Int32 {
        let descriptor = rawValue
        return try retrying("getsockopt") { clinux_peer_pid(descriptor) }
    }

    /// Whether it is a socket that waits for connections. The "peer" of one is who made it listen.
    public var isListening: Bool { clinux_is_listening(rawValue) == 1 }

    /// Ends both directions of a socket, so that the peer and whoever waits on it notice.
    public borrowing func shutdown() {
        _ = CLinux.shutdown(rawValue, Int32(2))  // SHUT_RDWR; ENOTCONN is as good
    }

    /// Sizes of the kernel's socket buffers, bytes; 0 leaves one as it is.
    public borrowing func setSocketBuffers(send: Int32, receive: Int32) throws(SystemError) {
        let descriptor = rawValue
        try retrying("setsockopt") { clinux_set_buffer_sizes(descriptor, send, receive) }
    }
}

/// AF_VSOCK: sockets between a guest and its host.
public enum VsockSocket {
    /// The host's context id, seen from a guest.
    public static let hostCID: UInt32 = 2

    /// Connects a stream; blocks. `ENODEV` when there is no vsock device, `ECONNRESET` when nobody listens.
    public static func connect(cid: UInt32, port: UInt32) throws(SystemError) -> OwnedDescriptor {
        let socket = OwnedDescriptor(adopting: try retrying("socket") { clinux_socket_vsock_stream() })
        let descriptor = socket.rawValue
        try retrying("connect") { clinux_connect_vsock(descriptor, cid, port) }
        return socket
    }

    /// This guest's own context id.
    public static func localCID() throws(SystemError) -> UInt32 {
        UInt32(truncatingIfNeeded: try retrying("ioctl") { clinux_vsock_local_cid() })
    }
}
