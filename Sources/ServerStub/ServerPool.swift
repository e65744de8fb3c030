public import LinuxSystem
public import VirtioMessage
internal import Virtqueue

/// The shared memory of a session, as the server stub allocates it: virtqueues and data of all its devices.
public struct ServerPool: ~Copyable {
    private let mapping: MemoryMapping
    /// The memory's descriptor natively; nil in a guest, where the client maps the guest's RAM.
    private let file: OwnedDescriptor?
    public let pageSize: UInt32
    public let extents: [PoolExtent]

    private init(mapping: consuming MemoryMapping, file: consuming OwnedDescriptor?, pageSize: UInt32, extents: [PoolExtent]) {
        self.mapping = mapping
        self.file = file
        self.pageSize = pageSize
        self.extents = extents
    }

    /// A memfd, to be passed to the client stub on the same machine.
    public static func native(byteCount: Int) throws(SystemError) -> ServerPool {
        let file = try MemoryFile.create(name: "drover-pool", count: byteCount)
        let mapping = try MemoryMapping(descriptor: file, count: byteCount)
        return ServerPool(
            mapping: mapping, file: file, pageSize: 4096, extents: [PoolExtent(address: 0, length: UInt64(byteCount))])
    }

    static let hugePageSize = 2 << 20

    /// All the 2 MiB pages that the kernel command line reserved, with their guest-physical addresses.
    public static func guest() throws(SystemError) -> ServerPool {
        let free = try SmallFile.readText("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").trimmed.number ?? 0
        let pages = min(free, PoolDescription.maximumExtents)
        let mapping = try MemoryMapping(anonymous: pages * hugePageSize, hugePages: true)
        let map = try PageMap()
        var extents: [PoolExtent] = []
        for page in 0..<pages {
            // SAFETY: within the mapping; only looked up.
            guard let address = unsafe try map.physicalAddress(of: mapping.base + page * hugePageSize) else {
                throw SystemError(code: 14, call: "pagemap")  // EFAULT
            }
            if let last = extents.last, last.address + last.length == address {
                extents[extents.count - 1].length += UInt64(hugePageSize)
            } else {
                extents.append(PoolExtent(address: address, length: UInt64(hugePageSize)))
            }
        }
        return ServerPool(mapping: mapping, file: nil, pageSize: UInt32(hugePageSize), extents: extents)
    }

    /// The descriptor that the client needs to map the pool; nil in a guest.
    var fileDescriptor: Int32? {
        switch file {
        case .some(let file): file.rawValue
        case .none: nil
        }
    }

    public var byteCount: Int { mapping.count }

    /// The pool for virtqueues: valid as long as this value lives.
    var memory: PoolMemory {
        // SAFETY: the whole mapping; the server keeps the pool longer than its queues.
        unsafe PoolMemory(base: mapping.base, count: mapping.count)
    }

    /// The pool for io_uring's registered buffers.
    var bytes: UnsafeMutableRawBufferPointer { unsafe mapping.bytes }
}
