public import CLinux
public import Synchronization

extension IoUring {
    /// Hands over what was pushed, and lets the kernel post the completions that it held back. No system call if there is neither.
    @inlinable
    public mutating func submit() throws(SystemError) {
        // SAFETY: see the fields.
        let held = unsafe submissionFlags.pointee.load(ordering: .relaxed) & 6 != 0  // IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN
        if pendingSubmissions == 0 && !held { return }
        try enter(minimum: 0, flags: held ? UInt32(IORING_ENTER_GETEVENTS) : 0, timeout: nil)
    }

    /// Hands over what was pushed, and waits until `minimum` completions can be taken, `timeout` nanoseconds have passed
    /// (nil: no end), or a signal came. Completions that are there already count.
    @inlinable
    public mutating func submitAndWait(minimum: UInt32 = 1, timeout: UInt64? = nil) throws(SystemError) {
        try enter(minimum: minimum, flags: UInt32(IORING_ENTER_GETEVENTS), timeout: timeout)
    }

    @usableFromInline
    mutating func enter(minimum: UInt32, flags: UInt32, timeout: UInt64?) throws(SystemError) {
        // SAFETY: see the fields.
        unsafe submissionTail.pointee.store(nextSubmission, ordering: .releasing)
        let count = pendingSubmissions
        var result: Int32
        if let timeout {
            var time = __kernel_timespec(
                tv_sec: Int64(truncatingIfNeeded: timeout / 1_000_000_000), tv_nsec: Int64(truncatingIfNeeded: timeout % 1_000_000_000))
            // SAFETY: both structs outlive the call that reads them.
            result = unsafe withUnsafePointer(to: &time) { time in
                var argument = io_uring_getevents_arg()
                unsafe argument.ts = IoOperation.address(time)
                return unsafe clinux_io_uring_enter(
                    rawDescriptor, count, minimum, flags | UInt32(IORING_ENTER_EXT_ARG), &argument,
                    MemoryLayout<io_uring_getevents_arg>.size)
            }
        } else {
            result = clinux_io_uring_enter(rawDescriptor, count, minimum, flags, nil, 0)
        }
        if result >= 0 { return }
        switch clinux_errno() {
        case ETIME, EINTR, EBUSY, EAGAIN:
            return  // The caller looks at its completions and comes back; what was not taken is still pushed.
        case let code:
            throw SystemError(code: code, call: "io_uring_enter")
        }
    }

    // MARK: completions

    /// The next completion, if there is one. Costs no system call.
    @inlinable
    public mutating func nextCompletion() -> IoCompletion? {
        if nextCompletionIndex == knownCompletionTail {
            // SAFETY: see the fields.
            unsafe knownCompletionTail = completionTail.pointee.load(ordering: .acquiring)
            if nextCompletionIndex == knownCompletionTail { return nil }
        }
        // SAFETY: the index is within the ring, and the kernel has published the entry.
        let entry = unsafe completions[Int(nextCompletionIndex & completionMask)]
        nextCompletionIndex &+= 1
        unsafe completionHead.pointee.store(nextCompletionIndex, ordering: .releasing)
        return IoCompletion(userData: entry.user_data, result: entry.res, flags: entry.flags)
    }

    /// Whether a completion could be taken, or would be posted by `submit`: for a loop that polls before it sleeps.
    @inlinable
    public var hasCompletions: Bool {
        // SAFETY: see the fields.
        unsafe nextCompletionIndex != completionTail.pointee.load(ordering: .acquiring)
            || submissionFlags.pointee.load(ordering: .relaxed) & 6 != 0
    }

    // MARK: registration

    /// Registers memory for `readFixed` and `writeFixed`, by its place in `buffers`. At most 1 GiB each.
    public mutating func registerBuffers(_ buffers: [UnsafeMutableRawBufferPointer]) throws(SystemError) {
        let vectors = unsafe buffers.map { unsafe iovec(iov_base: $0.baseAddress, iov_len: $0.count) }
        // SAFETY: the vectors outlive the call, the count goes along.
        try retrying("io_uring_register") {
            unsafe vectors.withUnsafeBufferPointer {
                unsafe clinux_io_uring_register(
                    rawDescriptor, UInt32(IORING_REGISTER_BUFFERS), $0.baseAddress, UInt32($0.count))
            }
        }
    }

    /// Registers descriptors for `onRegisteredFile`, by their place in `descriptors`.
    public mutating func registerFiles(_ descriptors: [Int32]) throws(SystemError) {
        // SAFETY: the array outlives the call, the count goes along.
        try retrying("io_uring_register") {
            unsafe descriptors.withUnsafeBufferPointer {
                unsafe clinux_io_uring_register(
                    rawDescriptor, UInt32(IORING_REGISTER_FILES), $0.baseAddress, UInt32($0.count))
            }
        }
    }
}
