import CLinux
import LinuxSystem
import VhostUser
public import Virtqueue

/// The memory that both sides share in one session, mapped in one piece; unmapped when the value ends.
@safe
public struct PoolRegion: ~Copyable {
    /// The range, for the queues and for buffers: valid as long as this value.
    public let memory: PoolMemory
    // Exactly one of the two; both only keep the range mapped.
    private let guest: PoolMapping?
    private let file: MemoryMapping?

    /// Guest memory, mapped by the vhost-user room.
    init(guest mapping: consuming PoolMapping) {
        // SAFETY: the mapping lives as long as this value.
        unsafe memory = PoolMemory(base: mapping.baseAddress, count: mapping.count)
        guest = consume mapping
        file = nil
    }

    /// A memfd that a server stub on this machine made (native mode), `extents` of it side by side.
    ///
    /// The file must be sealed against shrinking: otherwise its maker could take pages away, and a load would be a SIGBUS.
    init(file descriptor: Int32, extents: [(offset: UInt64, length: UInt64)]) throws(SessionEnd) {
        let seals = clinux_fcntl_get_seals(descriptor)
        guard seals >= 0, seals & F_SEAL_SHRINK != 0 else {
            throw .violation("the pool's file is no memfd that is sealed against shrinking")
        }
        var status = clinux_stat()
        // SAFETY: `status` outlives the call.
        guard unsafe clinux_fstat(descriptor, &status) == 0 else { throw .violation("the pool's file has no size") }
        let size = status.size
        var total: UInt64 = 0
        for extent in extents {
            guard extent.offset <= size, extent.length > 0, extent.length <= size - extent.offset else {
                throw .violation("the pool reaches past the end of its file")
            }
            guard extent.offset % 4096 == 0, extent.length % 4096 == 0 else { throw .violation("the pool is not aligned to pages") }
            total += extent.length
            guard total <= Self.largest else { throw .violation("the pool is larger than \(Self.largest) bytes") }
        }
        guard total > 0 else { throw .violation("the pool is empty") }
        do {
            var mapping = try MemoryMapping(reserving: Int(total))
            var position = 0
            for extent in extents {
                try mapping.place(descriptor: descriptor, offset: extent.offset, count: Int(extent.length), at: position)
                position += Int(extent.length)
            }
            // SAFETY: the mapping lives as long as this value.
            unsafe memory = PoolMemory(base: mapping.base, count: mapping.count)
            guest = nil
            file = consume mapping
        } catch {
            throw .violation("mapping the pool: \(error.description)")
        }
    }

    /// Private memory in the place of a pool, for tests of what works on one.
    init(privateBytes count: Int) throws(SystemError) {
        let mapping = try MemoryMapping(anonymous: count)
        // SAFETY: the mapping lives as long as this value.
        unsafe memory = PoolMemory(base: mapping.base, count: mapping.count)
        guest = nil
        file = consume mapping
    }

    /// Larger pools are refused, in bytes.
    static let largest: UInt64 = 4 << 30
}
