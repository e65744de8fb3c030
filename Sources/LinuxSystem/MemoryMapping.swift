import CLinux

/// A range of this process's address space; unmapped when the value ends.
///
/// Whoever keeps pointers into it must not outlive it. The range never moves.
@safe public struct MemoryMapping: ~Copyable, @unchecked Sendable {
    /// First byte; page-aligned.
    public let base: UnsafeMutableRawPointer
    /// Length in bytes, a whole number of pages.
    public let count: Int

    private init(base: UnsafeMutableRawPointer, count: Int) {
        unsafe self.base = base
        self.count = count
    }

    deinit {
        // SAFETY: the range is this value's own.
        _ = unsafe munmap(base, count)
    }

    /// The whole range.
    public var bytes: UnsafeMutableRawBufferPointer {
        // SAFETY: base and count describe exactly the range that is mapped.
        unsafe UnsafeMutableRawBufferPointer(start: base, count: count)
    }

    /// Maps `count` bytes of a file or memfd from `offset` (a multiple of the page size), shared, readable and writable
    /// unless `readOnly`. The caller makes sure that the file is that long and stays so (SIGBUS otherwise).
    public init(descriptor: borrowing OwnedDescriptor, offset: UInt64 = 0, count: Int, readOnly: Bool = false) throws(SystemError) {
        let protection = readOnly ? PROT_READ : PROT_READ | PROT_WRITE
        self = unsafe try MemoryMapping.map(nil, count, protection, MAP_SHARED, descriptor.rawValue, Int64(bitPattern: offset))
    }

    /// Zeroed memory, populated at once (`lock` keeps it in RAM). `hugePages`: from the 2 MiB pool
    /// that the kernel command line reserved (`ENOMEM` when there are too few).
    public init(anonymous count: Int, hugePages: Bool = false, shared: Bool = false) throws(SystemError) {
        var flags = MAP_ANONYMOUS | MAP_POPULATE | (shared ? MAP_SHARED : MAP_PRIVATE)
        if hugePages { flags |= MAP_HUGETLB | Int32(21 << 26) }  // 2^21 bytes, MAP_HUGE_SHIFT is 26
        self = unsafe try MemoryMapping.map(nil, count, PROT_READ | PROT_WRITE, flags, -1, 0)
    }

    /// Address space without memory behind it, to place several mappings side by side.
    public init(reserving count: Int) throws(SystemError) {
        self = unsafe try MemoryMapping.map(nil, count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    }

    /// Puts `count` bytes of a file at `position` of this mapping, over what was there. Both are multiples of the page size.
    ///
    /// `EINVAL` when it does not lie inside.
    public mutating func place(
        descriptor: Int32, offset: UInt64, count part: Int, at position: Int
    ) throws(SystemError) {
        guard position >= 0, part > 0, position <= count, part <= count - position else {
            throw SystemError(code: EINVAL, call: "mmap")
        }
        // SAFETY: MAP_FIXED replaces only pages of this value's own range, as just checked.
        let placed = unsafe clinux_mmap(
            base + position, part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, Int64(bitPattern: offset))
        if unsafe placed == nil { throw SystemError.last("mmap") }
    }

    /// Locks the range into RAM (`mlock(2)`), so that a page table entry, once looked up, stays true.
    public borrowing func lock() throws(SystemError) {
        let count = count
        // SAFETY: the range is mapped.
        let place = unsafe base
        try retrying("mlock") { unsafe mlock(place, count) }
    }

    private static func map(
        _ place: UnsafeMutableRawPointer?, _ count: Int, _ protection: Int32, _ flags: Int32, _ descriptor: Int32, _ offset: Int64
    ) throws(SystemError) -> MemoryMapping {
        guard count > 0, offset >= 0 else { throw SystemError(code: EINVAL, call: "mmap") }
        // SAFETY: no MAP_FIXED here, so the kernel picks a free range.
        guard let base = unsafe clinux_mmap(place, count, protection, flags, descriptor, offset) else {
            throw SystemError.last("mmap")
        }
        return unsafe MemoryMapping(base: base, count: count)
    }
}

/// A memfd: shared memory with a descriptor that can be passed on.
public enum MemoryFile {
    /// Creates one of `count` bytes, zeroed, whose size is sealed. `name` shows up in /proc/PID/maps.
    public static func create(name: String, count: Int) throws(SystemError) -> OwnedDescriptor {
        // SAFETY: the C string lives as long as the call.
        let file = OwnedDescriptor(
            adopting: try retrying("memfd_create") {
                unsafe name.withCString { unsafe clinux_memfd_create($0, UInt32(MFD_ALLOW_SEALING)) }
            })
        let descriptor = file.rawValue
        try retrying("ftruncate") { ftruncate(descriptor, off_t(count)) }
        try retrying("fcntl") { clinux_fcntl_add_seals(descriptor, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) }
        return file
    }
}

/// Where this process's memory is in physical memory (the guest's, inside a DD/OS).
public struct PageMap: ~Copyable {
    private let file: OwnedDescriptor
    private let pageSize: UInt64

    /// Opens /proc/self/pagemap; needs CAP_SYS_ADMIN to see addresses.
    public init() throws(SystemError) {
        file = try OwnedDescriptor(path: "/proc/self/pagemap", .readOnly)
        pageSize = UInt64(getpagesize())
    }

    /// The physical address of the byte at `pointer`; nil when the page is not in RAM or may not be known.
    /// Only memory that is locked or huge stays there.
    public borrowing func physicalAddress(of pointer: UnsafeRawPointer) throws(SystemError) -> UInt64? {
        let address = UInt64(UInt(bitPattern: pointer))
        var entry: UInt64 = 0
        let descriptor = file.rawValue
        let position = off_t(address / pageSize * 8)
        // SAFETY: eight bytes into eight bytes.
        let came = try retrying("pread") { unsafe pread(descriptor, &entry, 8, position) }
        // Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 0-54 page frame number, 0 without the right to know.
        let frame = entry & (1 << 55 - 1)
        guard came == 8, entry >> 63 == 1, frame != 0 else { return nil }
        return frame * pageSize + address % pageSize
    }
}
