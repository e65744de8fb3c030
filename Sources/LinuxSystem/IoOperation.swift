public import CLinux

/// One io_uring submission, not yet in a ring: what to do, to which descriptor, with which memory.
///
/// Memory that is named here must stay where it is until the completion has come, except that timeouts are copied.
/// Offsets and lengths are bytes. `result` of the completion: what the system call of the same name would return, or −errno.
public struct IoOperation {
    @usableFromInline var code: UInt8
    @usableFromInline var flags: UInt8 = 0
    @usableFromInline var priority: UInt16 = 0
    @usableFromInline var descriptor: Int32
    @usableFromInline var offset: UInt64
    @usableFromInline var address: UInt64
    @usableFromInline var length: UInt32
    @usableFromInline var operationFlags: UInt32
    @usableFromInline var bufferIndex: UInt16 = 0

    @inlinable
    init(
        _ code: io_uring_op, _ descriptor: Int32, offset: UInt64 = 0, address: UInt64 = 0, length: UInt32 = 0, flags: UInt32 = 0
    ) {
        self.code = UInt8(truncatingIfNeeded: code.rawValue)
        self.descriptor = descriptor
        self.offset = offset
        self.address = address
        self.length = length
        self.operationFlags = flags
    }

    /// The next operation pushed starts only when this one has succeeded in full; otherwise it ends with −ECANCELED.
    @inlinable
    public func linkedToNext() -> IoOperation {
        var copy = self
        copy.flags |= 4  // IOSQE_IO_LINK, a cast macro
        return copy
    }

    /// No completion if it succeeds (kernel 5.17).
    @inlinable
    public func silentOnSuccess() -> IoOperation {
        var copy = self
        copy.flags |= 64  // IOSQE_CQE_SKIP_SUCCESS
        return copy
    }

    /// The descriptor is an index into the files registered with `IoUring.registerFiles`.
    @inlinable
    public func onRegisteredFile() -> IoOperation {
        var copy = self
        copy.flags |= 1  // IOSQE_FIXED_FILE
        return copy
    }

    /// Completes at once. For tests and to wake the ring.
    @inlinable
    public static func nop() -> IoOperation { IoOperation(IORING_OP_NOP, -1) }

    // MARK: files

    /// `pread`. `offset` nil: at the file's own position (pipes, eventfds).
    @inlinable
    public static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64?) -> IoOperation {
        // SAFETY, here and below: the caller keeps what an address names alive until the completion, as each function says.
        unsafe IoOperation(
            IORING_OP_READ, descriptor, offset: offset ?? .max, address: address(buffer.baseAddress),
            length: UInt32(truncatingIfNeeded: buffer.count))
    }

    /// `pwrite`. `flags`: `RWF_DSYNC` makes it durable before it completes.
    @inlinable
    public static func write(
        _ descriptor: Int32, from buffer: UnsafeRawBufferPointer, at offset: UInt64?, flags: UInt32 = 0
    ) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_WRITE, descriptor, offset: offset ?? .max, address: address(buffer.baseAddress),
            length: UInt32(truncatingIfNeeded: buffer.count), flags: flags)
    }

    /// `pread` into memory registered with `IoUring.registerBuffers`: the kernel does not look its pages up each time.
    @inlinable
    public static func readFixed(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, bufferIndex: UInt16
    ) -> IoOperation {
        var operation = unsafe IoOperation(
            IORING_OP_READ_FIXED, descriptor, offset: offset, address: address(buffer.baseAddress),
            length: UInt32(truncatingIfNeeded: buffer.count))
        operation.bufferIndex = bufferIndex
        return operation
    }

    /// `pwrite` from memory registered with `IoUring.registerBuffers`.
    @inlinable
    public static func writeFixed(
        _ descriptor: Int32, from buffer: UnsafeRawBufferPointer, at offset: UInt64, bufferIndex: UInt16, flags: UInt32 = 0
    ) -> IoOperation {
        var operation = unsafe IoOperation(
            IORING_OP_WRITE_FIXED, descriptor, offset: offset, address: address(buffer.baseAddress),
            length: UInt32(truncatingIfNeeded: buffer.count), flags: flags)
        operation.bufferIndex = bufferIndex
        return operation
    }

    /// `preadv`. The vectors must stay until submission, the memory until completion.
    @inlinable
    public static func readVectors(
        _ descriptor: Int32, _ vectors: UnsafePointer<iovec>, count: Int, at offset: UInt64?, flags: UInt32 = 0
    ) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_READV, descriptor, offset: offset ?? .max, address: address(vectors),
            length: UInt32(truncatingIfNeeded: count), flags: flags)
    }

    /// `pwritev`. The vectors must stay until submission, the memory until completion.
    @inlinable
    public static func writeVectors(
        _ descriptor: Int32, _ vectors: UnsafePointer<iovec>, count: Int, at offset: UInt64?, flags: UInt32 = 0
    ) -> IoOperation {
        unsafe IoOperation(
            IORING_OP_WRITEV, descriptor, offset: offset ?? .max, address: address(vectors),
            length: UInt32(truncatingIfNeeded: count), flags: flags)
    }

    /// `fsync`, or `fdatasync` if `dataOnly`.
    @inlinable
    public static func sync(_ descriptor: Int32, dataOnly: Bool = false) -> IoOperation {
        IoOperation(IORING_OP_FSYNC, descriptor, flags: dataOnly ? 1 : 0)
    }

    /// `fallocate`. `mode`: 0x01 keep size, 0x02 punch hole, 0x10 zero range (FALLOC_FL_…). On block devices punch hole
    /// with keep size discards and zeroes, 0x05 (keep size, no hide stale) only discards.
    @inlinable
    public static func allocate(_ descriptor: Int32, mode: Int32, offset: UInt64, length: UInt64) -> IoOperation {
        // The length travels in `addr`, the mode in `len` (io_fallocate_prep).
        IoOperation(
            IORING_OP_FALLOCATE, descriptor, offset: offset, address: length, length: UInt32(bitPattern: mode))
    }

    /// `close`.
    @inlinable
    public static func close(_ descriptor: Int32) -> IoOperation { IoOperation(IORING_OP_CLOSE, descriptor) }

    // MARK: readiness, time, cancelling

    /// `poll`: completes with the events that came. `multishot`: again and again, as long as a completion says `hasMore`.
    @inlinable
    public static func poll(_ descriptor: Int32, events: Int32, multishot: Bool = false) -> IoOperation {
        IoOperation(
            IORING_OP_POLL_ADD, descriptor, length: multishot ? 1 : 0, flags: UInt32(bitPattern: events))
    }

    /// Completes with −ETIME after so many nanoseconds, or at that `Clock.monotonic()` time if `absolute`.
    @inlinable
    public static func timeout(nanoseconds: UInt64, absolute: Bool = false) -> IoOperation {
        // The ring puts the time in a slot of its own, see IoUring.push.
        IoOperation(IORING_OP_TIMEOUT, -1, address: nanoseconds, length: 1, flags: absolute ? 1 : 0)
    }

    /// Ends the timeout with this `userData` early.
    @inlinable
    public static func removeTimeout(_ userData: UInt64) -> IoOperation {
        IoOperation(IORING_OP_TIMEOUT_REMOVE, -1, address: userData)
    }

    /// Cancels the operation with this `userData`: that one completes with −ECANCELED, this one with 0, −ENOENT or −EALREADY.
    @inlinable
    public static func cancel(_ userData: UInt64) -> IoOperation {
        IoOperation(IORING_OP_ASYNC_CANCEL, -1, address: userData)
    }

    /// Cancels everything on a descriptor (kernel 5.19): completes with how many there were.
    @inlinable
    public static func cancelAll(on descriptor: Int32) -> IoOperation {
        IoOperation(IORING_OP_ASYNC_CANCEL, descriptor, flags: 3)  // IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD
    }

    @inlinable
    static func address(_ pointer: UnsafeRawPointer?) -> UInt64 { UInt64(UInt(bitPattern: pointer)) }
}
