import CLinux

/// A file descriptor that belongs to this value: closed when the value ends. Always close-on-exec.
@frozen public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The number, for calls that only borrow it. It stays valid as long as this value lives.
    public let rawValue: Int32

    /// Takes a descriptor over. Nobody else may close it from now on.
    @inlinable
    public init(adopting rawValue: Int32) {
        self.rawValue = rawValue
    }

    deinit {
        // EINTR and EIO leave the descriptor closed on Linux: there is nothing to retry and nobody to tell.
        _ = close(rawValue)
    }

    /// Gives the descriptor away: the caller closes it.
    public consuming func release() -> Int32 {
        let value = rawValue
        discard self
        return value
    }

    /// A second descriptor of the same open file (`F_DUPFD_CLOEXEC`).
    public borrowing func duplicate() throws(SystemError) -> OwnedDescriptor {
        let descriptor = rawValue
        return OwnedDescriptor(adopting: try retrying("fcntl") { clinux_fcntl_dup_cloexec(descriptor) })
    }

    /// Sets or clears `O_NONBLOCK`.
    public borrowing func setNonBlocking(_ on: Bool) throws(SystemError) {
        let descriptor = rawValue
        let flags = try retrying("fcntl") { clinux_fcntl_getfl(descriptor) }
        let wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK
        if wanted != flags { try retrying("fcntl") { clinux_fcntl_setfl(descriptor, wanted) } }
    }
}

/// How a file is opened: `open(2)` flags. `O_CLOEXEC` is always added.
public struct OpenOptions: OptionSet, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let readOnly: OpenOptions = []
    public static let writeOnly = OpenOptions(rawValue: O_WRONLY)
    public static let readWrite = OpenOptions(rawValue: O_RDWR)
    public static let create = OpenOptions(rawValue: O_CREAT)
    public static let exclusive = OpenOptions(rawValue: O_EXCL)
    public static let truncate = OpenOptions(rawValue: O_TRUNC)
    public static let append = OpenOptions(rawValue: O_APPEND)
    public static let nonBlocking = OpenOptions(rawValue: O_NONBLOCK)
    public static let directory = OpenOptions(rawValue: O_DIRECTORY)
    /// Past the page cache: buffers, offsets and lengths must be multiples of the logical block size.
    public static let direct = OpenOptions(rawValue: CLINUX_O_DIRECT)
}

extension OwnedDescriptor {
    /// Opens a file (`open(2)`); `permissions` count only with `.create`.
    public init(path: String, _ options: OpenOptions, permissions: UInt32 = 0o600) throws(SystemError) {
        // SAFETY: the C string lives as long as the call that reads it.
        let descriptor = try retrying("open") {
            unsafe path.withCString { unsafe clinux_open($0, options.rawValue, permissions) }
        }
        self.init(adopting: descriptor)
    }

    /// A pidfd of a process (`pidfd_open(2)`): becomes readable when the process ends, and cannot name a later one.
    public init(process: Int32) throws(SystemError) {
        self.init(adopting: try retrying("pidfd_open") { clinux_pidfd_open(process, 0) })
    }

    /// A descriptor that becomes readable when one of `signals` comes; they are blocked for the calling thread and
    /// for the threads it starts from now on. Non-blocking.
    public init(signals: [Int32]) throws(SystemError) {
        // SAFETY: the array outlives the call, and its count goes along.
        let descriptor = try retrying("signalfd") {
            unsafe signals.withUnsafeBufferPointer { unsafe clinux_signalfd($0.baseAddress, Int32($0.count)) }
        }
        self.init(adopting: descriptor)
    }
}

/// Kind and size of a file.
public struct FileStatus: Equatable, Sendable {
    /// Bytes; 0 for a block device (see `BlockDeviceLimits`).
    public var size: UInt64
    /// `st_mode`.
    public var mode: UInt32
    /// Major and minor number of a device node.
    public var device: UInt64
    /// The file's number in its file system.
    public var inode: UInt64
    /// The number of the file system that it is in: together with ``inode`` it names one file.
    public var fileSystem: UInt64

    private var kind: Int32 { Int32(truncatingIfNeeded: mode) & S_IFMT }
    public var isRegularFile: Bool { kind == S_IFREG }
    public var isBlockDevice: Bool { kind == S_IFBLK }
    public var isDirectory: Bool { kind == S_IFDIR }
    public var isSocket: Bool { kind == S_IFSOCK }

    init(_ found: clinux_stat) {
        size = found.size
        mode = found.mode
        device = found.device
        inode = found.inode
        fileSystem = found.file_system
    }

    /// `stat(2)`, following links.
    public init(path: String) throws(SystemError) {
        var found = clinux_stat()
        // SAFETY: both pointers live as long as the call.
        try retrying("stat") { unsafe path.withCString { unsafe clinux_stat_path($0, &found) } }
        self.init(found)
    }

    /// `lstat(2)`: of a link itself.
    public init(withoutFollowing path: String) throws(SystemError) {
        var found = clinux_stat()
        // SAFETY: both pointers live as long as the call.
        try retrying("lstat") { unsafe path.withCString { unsafe clinux_lstat_path($0, &found) } }
        self.init(found)
    }

    /// Whether both are of one file, under whichever names.
    public func isSameFile(as other: FileStatus) -> Bool { inode == other.inode && fileSystem == other.fileSystem }
}

extension OwnedDescriptor {
    /// `fstat(2)`.
    public borrowing func status() throws(SystemError) -> FileStatus {
        var found = clinux_stat()
        let descriptor = rawValue
        // SAFETY: `found` outlives the call.
        try retrying("fstat") { unsafe clinux_fstat(descriptor, &found) }
        return FileStatus(found)
    }
}
