public import CLinux
public import Synchronization

/// What came of an operation.
public struct IoCompletion: Equatable, Sendable {
    /// The value that the operation was pushed with.
    public let userData: UInt64
    /// What the system call would return, or −errno.
    public let result: Int32
    /// `IORING_CQE_F_…`.
    public let flags: UInt32

    /// A multishot operation goes on: more completions will come with the same `userData`.
    @inlinable public var hasMore: Bool { flags & 2 != 0 }

    @inlinable
    public init(userData: UInt64, result: Int32, flags: UInt32 = 0) {
        self.userData = userData
        self.result = result
        self.flags = flags
    }
}

/// An io_uring (`io_uring_setup(2)`): the wait primitive of every data-plane thread. Needs kernel 5.11, best with 6.1.
///
/// One thread owns it: the ring is made by the thread that uses it, and stays there.
/// Operations that are under way when the value ends may still touch their memory: cancel and drain before freeing that.
@safe public struct IoUring: ~Copyable {
    @usableFromInline let descriptor: OwnedDescriptor
    @usableFromInline let rings: MemoryMapping
    @usableFromInline let entriesMapping: MemoryMapping

    // Pointers into the two mappings above, which live as long as this value.
    @usableFromInline let submissionHead: UnsafePointer<Atomic<UInt32>>
    @usableFromInline let submissionTail: UnsafePointer<Atomic<UInt32>>
    @usableFromInline let submissionFlags: UnsafePointer<Atomic<UInt32>>
    @usableFromInline let completionHead: UnsafePointer<Atomic<UInt32>>
    @usableFromInline let completionTail: UnsafePointer<Atomic<UInt32>>
    @usableFromInline let submissions: UnsafeMutablePointer<io_uring_sqe>
    @usableFromInline let completions: UnsafePointer<io_uring_cqe>
    /// One per submission slot: the kernel copies it on submission, and the slot is not reused before that.
    @usableFromInline let times: UnsafeMutablePointer<__kernel_timespec>
    @usableFromInline let submissionMask: UInt32
    @usableFromInline let completionMask: UInt32
    /// Where the next submission goes; the kernel sees it when it is published.
    @usableFromInline var nextSubmission: UInt32 = 0
    /// What is known of the completion queue without looking.
    @usableFromInline var nextCompletionIndex: UInt32 = 0
    @usableFromInline var knownCompletionTail: UInt32 = 0

    /// Sets up a ring with room for `entries` submissions (rounded up to a power of two) before they must be submitted,
    /// and `completions` (0: eight times as many) before the kernel has to buffer.
    ///
    /// `ENOSYS`, `EPERM`: this kernel has no io_uring, or forbids it. `ENOMEM`: past RLIMIT_MEMLOCK.
    public init(entries: UInt32 = 256, completions: UInt32 = 0) throws(SystemError) {
        let fast = UInt32(
            IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG)
        let sized = UInt32(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)
        var parameters = io_uring_params()
        var result: Int32 = -1
        // Deferred task work wants kernel 6.1: completions are then posted only when this thread asks, never by interrupting it.
        for flags in [sized | fast, sized] {
            parameters = io_uring_params()
            parameters.flags = flags
            parameters.cq_entries = completions == 0 ? entries &* 8 : completions
            // SAFETY: `parameters` outlives the call.
            result = unsafe clinux_io_uring_setup(entries, &parameters)
            if result >= 0 || clinux_errno() != EINVAL { break }
        }
        if result < 0 { throw SystemError.last("io_uring_setup") }
        let ring = OwnedDescriptor(adopting: result)
        guard parameters.features & UInt32(IORING_FEAT_SINGLE_MMAP) != 0, parameters.features & UInt32(IORING_FEAT_EXT_ARG) != 0
        else { throw SystemError(code: ENOSYS, call: "io_uring_setup") }

        let submissionBytes = Int(parameters.sq_off.array) + Int(parameters.sq_entries) * MemoryLayout<UInt32>.stride
        let completionBytes = Int(parameters.cq_off.cqes) + Int(parameters.cq_entries) * MemoryLayout<io_uring_cqe>.stride
        let rings = try MemoryMapping(descriptor: ring, offset: 0, count: max(submissionBytes, completionBytes))
        let entriesMapping = try MemoryMapping(
            descriptor: ring, offset: UInt64(IORING_OFF_SQES),
            count: Int(parameters.sq_entries) * MemoryLayout<io_uring_sqe>.stride)

        // SAFETY: the kernel says where in the mapping its fields are; they are aligned, and live as long as the mapping.
        let base = unsafe rings.base
        func field(_ offset: UInt32) -> UnsafePointer<Atomic<UInt32>> {
            unsafe UnsafePointer((base + Int(offset)).assumingMemoryBound(to: Atomic<UInt32>.self))
        }
        unsafe submissionHead = field(parameters.sq_off.head)
        unsafe submissionTail = field(parameters.sq_off.tail)
        unsafe submissionFlags = field(parameters.sq_off.flags)
        unsafe completionHead = field(parameters.cq_off.head)
        unsafe completionTail = field(parameters.cq_off.tail)
        unsafe submissions = entriesMapping.base.assumingMemoryBound(to: io_uring_sqe.self)
        unsafe self.completions = UnsafePointer((base + Int(parameters.cq_off.cqes)).assumingMemoryBound(to: io_uring_cqe.self))
        submissionMask = parameters.sq_entries - 1
        completionMask = parameters.cq_entries - 1
        unsafe times = .allocate(capacity: Int(parameters.sq_entries))
        unsafe times.initialize(repeating: __kernel_timespec(tv_sec: 0, tv_nsec: 0), count: Int(parameters.sq_entries))
        // Slot n of the index array always means entry n.
        let array = unsafe (base + Int(parameters.sq_off.array)).assumingMemoryBound(to: UInt32.self)
        for index in 0..<Int(parameters.sq_entries) { unsafe array[index] = UInt32(index) }
        descriptor = ring
        self.rings = rings
        self.entriesMapping = entriesMapping
    }

    deinit {
        unsafe times.deallocate()
    }

    /// The ring's own descriptor: readable when completions wait, so that a ring can be polled in another.
    public var rawDescriptor: Int32 { descriptor.rawValue }

    // MARK: pushing

    /// How many operations are pushed but not submitted.
    @inlinable
    public var pendingSubmissions: UInt32 {
        // SAFETY: see the fields.
        unsafe nextSubmission &- submissionHead.pointee.load(ordering: .acquiring)
    }

    /// Puts an operation in the ring; the kernel begins with it at the next `submit`. When the ring is full, submits first.
    ///
    /// `EBUSY`: the kernel takes none before completions are consumed (take some, then push again).
    @inlinable
    public mutating func push(_ operation: IoOperation, userData: UInt64) throws(SystemError) {
        if pendingSubmissions > submissionMask {
            try submit()
            if pendingSubmissions > submissionMask { throw SystemError(code: EBUSY, call: "io_uring_enter") }
        }
        let slot = Int(nextSubmission & submissionMask)
        var address = operation.address
        if operation.code == UInt8(truncatingIfNeeded: IORING_OP_TIMEOUT.rawValue) {
            // SAFETY: `slot` is within both arrays.
            unsafe times[slot].tv_sec = Int64(truncatingIfNeeded: operation.address / 1_000_000_000)
            unsafe times[slot].tv_nsec = Int64(truncatingIfNeeded: operation.address % 1_000_000_000)
            unsafe address = IoOperation.address(times + slot)
        }
        // SAFETY: `slot` is within the entries, and free: the kernel has consumed what was there.
        let entry = unsafe submissions + slot
        unsafe clinux_sqe_fill(
            entry, operation.code, operation.flags, operation.priority, operation.descriptor, operation.offset, address,
            operation.length, operation.operationFlags, userData)
        if operation.bufferIndex != 0 { unsafe clinux_sqe_set_buffer_index(entry, operation.bufferIndex) }
        nextSubmission &+= 1
        // Not releasing the tail here is a batch: `submit` does it once.
    }
}
