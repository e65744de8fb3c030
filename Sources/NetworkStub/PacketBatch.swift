import CLinux
import LinuxSystem

/// Packets on their way to or from a TAP: one system call for all of them.
///
/// Every operation asks not to wait (RWF_NOWAIT), so io_uring carries them out at once, in the order in which they were put here, before the call
/// returns: no other thread of the kernel's touches memory afterwards, and no packet overtakes another of the same batch. (O_NONBLOCK alone does
/// not say that: io_uring then waits in the caller's place where the file can.) A TAP of before Linux 6.4 cannot be asked so: there each packet
/// has a system call of its own.
///
///     packet  header (private, 12 bytes)   vectors: header, then pieces of guest memory
///     0       headers + 0                  vectors[starts[0] ..< starts[1]]
///     1       headers + 16                 vectors[starts[1] ..< starts[2]]
@safe struct PacketBatch: ~Copyable {
    /// Between two headers, so that each is aligned.
    private static let headerStride = 16
    /// Limit of readv(2) and writev(2) (UIO_MAXIOV).
    static let mostVectors = 1024

    /// RWF_NOWAIT.
    private static let noWait: UInt32 = 8

    let capacity: Int
    private let vectorCapacity: Int
    private let headers: UnsafeMutableRawPointer
    private let vectors: UnsafeMutablePointer<iovec>
    private let starts: UnsafeMutablePointer<Int>
    private let results: UnsafeMutablePointer<Int32>
    private var filled = 0
    /// False: the file does not take RWF_NOWAIT.
    private var batches: Bool
    private(set) var count = 0

    /// Room for `capacity` packets and for `vectorsPerPacket` × `capacity` vectors, the headers' included.
    init(capacity: Int, vectorsPerPacket: Int, batches: Bool) {
        self.capacity = capacity
        self.batches = batches
        vectorCapacity = capacity * vectorsPerPacket
        unsafe headers = .allocate(byteCount: capacity * Self.headerStride, alignment: 16)
        unsafe headers.initializeMemory(as: UInt8.self, repeating: 0, count: capacity * Self.headerStride)
        unsafe vectors = .allocate(capacity: vectorCapacity)
        unsafe starts = .allocate(capacity: capacity + 1)
        unsafe starts.initialize(repeating: 0, count: capacity + 1)
        unsafe results = .allocate(capacity: capacity)
        unsafe results.initialize(repeating: 0, count: capacity)
    }

    deinit {
        unsafe headers.deallocate()
        unsafe vectors.deallocate()
        unsafe starts.deallocate()
        unsafe results.deallocate()
    }

    mutating func removeAll() {
        count = 0
        filled = 0
    }

    /// Whether another packet with so many pieces fits.
    func hasRoom(pieces: Int) -> Bool { count < capacity && pieces < vectorCapacity - filled && pieces < Self.mostVectors }

    /// The private header of a packet: twelve bytes, the first aligned to 16.
    func header(_ packet: Int) -> UnsafeMutableRawPointer {
        precondition(packet >= 0 && packet < capacity)
        // SAFETY: within the headers, as just checked.
        return unsafe headers + packet * Self.headerStride
    }

    /// Begins the next packet with its header; pieces follow, then ``end()``.
    mutating func begin() {
        precondition(count < capacity && filled < vectorCapacity)
        // SAFETY: `filled` is below the capacity, as just checked, here and below.
        unsafe (vectors + filled).initialize(to: iovec(iov_base: header(count), iov_len: 12))
        filled += 1
    }

    mutating func append(_ base: UnsafeMutableRawPointer, _ bytes: Int) {
        precondition(filled < vectorCapacity)
        unsafe (vectors + filled).initialize(to: iovec(iov_base: base, iov_len: bytes))
        filled += 1
    }

    mutating func end() {
        count += 1
        // SAFETY: `count` is at most the capacity, and there is one more start than packets.
        unsafe starts[count] = filled
    }

    /// Forgets the packet that was begun and not ended.
    mutating func abandon() {
        // SAFETY: see `end()`.
        filled = unsafe starts[count]
    }

    /// What the call said of a packet: its bytes with the header, or a negated errno.
    func result(_ packet: Int) -> Int32 {
        precondition(packet >= 0 && packet < count)
        // SAFETY: as just checked.
        return unsafe results[packet]
    }

    /// Reads or writes all of them, with one system call.
    mutating func run(_ descriptor: Int32, writing: Bool, on ring: inout IoUring) throws(SystemError) {
        guard batches else { return runEach(descriptor, writing: writing) }
        for packet in 0..<count {
            // SAFETY: the vectors, and what they point to, stay as they are until the completions have come, which is before this returns.
            let first = unsafe vectors + starts[packet]
            let length = unsafe starts[packet + 1] - starts[packet]
            unsafe results[packet] = -EAGAIN
            let operation =
                if writing {
                    unsafe IoOperation.writeVectors(descriptor, first, count: length, at: 0, flags: Self.noWait)
                } else {
                    unsafe IoOperation.readVectors(descriptor, first, count: length, at: 0, flags: Self.noWait)
                }
            try ring.push(operation, userData: UInt64(packet))
        }
        var missing = count
        try ring.submit()
        while true {
            while missing > 0, let completion = ring.nextCompletion() {
                let packet = Int(completion.userData)
                precondition(packet < count)
                // SAFETY: as just checked.
                unsafe results[packet] = completion.result
                missing -= 1
            }
            if missing == 0 { break }
            // Never seen, as nothing here waits; but memory that the kernel still uses must not be given back.
            try ring.submitAndWait(minimum: UInt32(missing), timeout: 1_000_000_000)
        }
        // Nothing was done then.
        guard count > 0, result(0) == -EOPNOTSUPP else { return }
        batches = false
        runEach(descriptor, writing: writing)
    }

    /// The same with a call for each; what comes after a packet that would have to wait is not tried.
    private mutating func runEach(_ descriptor: Int32, writing: Bool) {
        var isBlocked = false
        for packet in 0..<count {
            // SAFETY: as above; the descriptor is non-blocking.
            let first = unsafe vectors + starts[packet]
            let length = unsafe Int32(starts[packet + 1] - starts[packet])
            unsafe results[packet] = -EAGAIN
            if isBlocked { continue }
            var done = -1
            repeat {
                done = unsafe writing ? writev(descriptor, first, length) : readv(descriptor, first, length)
            } while done < 0 && clinux_errno() == EINTR
            unsafe results[packet] = done < 0 ? -clinux_errno() : Int32(done)
            isBlocked = done < 0 && clinux_errno() == EAGAIN
        }
    }
}
