import Virtqueue

/// Where data buffers are: in the pool of the session, in that of a session that has ended, or in private memory while
/// there is none.
///
/// The table's entries are the buffers' names (``BufferHandle``); the memory behind a name changes when ``move(_:copying:)`` takes
/// it along to a new pool. A pool that has ended stays mapped until its last buffer has moved or was released.
@safe
struct BufferTable: ~Copyable {
    @safe struct Entry {
        var base: UnsafeMutableRawPointer
        /// Bytes that were asked for.
        var length: UInt32
        var page: UInt32
        var pages: UInt32
        /// ``holdingSerial``, the session pool's serial, or that of an ended one; ``freeSerial``: the entry is free.
        var serial: UInt32
        /// Of a free entry.
        var nextFree: UInt32
    }

    /// A pool whose session has ended.
    final class EndedPool {
        let region: PoolRegion
        let serial: UInt32
        var buffers: Int
        init(region: consuming PoolRegion, serial: UInt32, buffers: Int) {
            self.region = region
            self.serial = serial
            self.buffers = buffers
        }
    }

    /// The session's pool.
    struct LivePool: ~Copyable {
        var region: PoolRegion
        var pages: PageAllocator
        var buffers = 0

        mutating func reserve(pages count: Int, bytes: Int, serial: UInt32) -> Entry? {
            guard let page = pages.allocate(pages: count) else { return nil }
            buffers += 1
            // SAFETY: the page lies within the pool, which the allocator was made for.
            let base = unsafe region.memory.base + page * PageAllocator.pageSize
            return unsafe Entry(
                base: base, length: UInt32(bytes), page: UInt32(page), pages: UInt32(count), serial: serial, nextFree: noEntry)
        }

        mutating func giveBack(_ entry: Entry) {
            pages.free(page: Int(entry.page), pages: Int(entry.pages))
            buffers -= 1
        }
    }

    /// Private memory for buffers while there is no session. Untouched pages of it cost nothing.
    @safe struct Holding: ~Copyable {
        let bytes: UnsafeMutableRawBufferPointer
        var pages: PageAllocator
        var buffers = 0

        init(byteCount: Int) {
            // SAFETY: freed only in deinit.
            unsafe bytes = .allocate(byteCount: byteCount, alignment: PageAllocator.pageSize)
            pages = PageAllocator(pageCount: byteCount / PageAllocator.pageSize, firstPage: 0)
        }

        deinit { unsafe bytes.deallocate() }

        mutating func reserve(pages count: Int, bytes length: Int, serial: UInt32) -> Entry? {
            guard let page = pages.allocate(pages: count) else { return nil }
            buffers += 1
            // SAFETY: the page lies within the bytes, which the allocator was made for.
            let base = unsafe bytes.baseAddress! + page * PageAllocator.pageSize
            return unsafe Entry(
                base: base, length: UInt32(length), page: UInt32(page), pages: UInt32(count), serial: serial, nextFree: noEntry)
        }

        /// How many buffers are left.
        mutating func giveBack(_ entry: Entry) -> Int {
            pages.free(page: Int(entry.page), pages: Int(entry.pages))
            buffers -= 1
            return buffers
        }
    }

    private static let freeSerial: UInt32 = 0
    private static let holdingSerial: UInt32 = 1
    private static let noEntry = UInt32.max

    private var entries: [Entry] = []
    private var freeHead = noEntry
    private var live: LivePool?
    private var liveSerial: UInt32 = holdingSerial
    private var holding: Holding?
    private var ended: [EndedPool] = []
    private let holdingBytes: Int

    /// Some ``allocate(bytes:)`` found nothing since this was last cleared.
    var starved = false
    /// Something was released since this was last cleared.
    var releasedSome = false

    /// `holdingBytes`: how much data can wait for a session.
    init(holdingBytes: Int) {
        self.holdingBytes = holdingBytes
    }

    /// A session has begun: `firstByte` of its pool is the first that may be used for data.
    mutating func begin(_ region: consuming PoolRegion, firstByte: UInt64) {
        precondition(liveSerial == Self.holdingSerial, "the old session has to end first")
        let page = Int((firstByte + UInt64(PageAllocator.pageSize) - 1) / UInt64(PageAllocator.pageSize))
        let allocator = PageAllocator(pageCount: Int(region.memory.count) / PageAllocator.pageSize, firstPage: page)
        live = LivePool(region: region, pages: allocator)
        nextSerial += 1
        liveSerial = nextSerial
        releasedSome = true
    }

    private var nextSerial: UInt32 = holdingSerial

    /// The session has ended. Buffers in its pool keep their memory until they move or are released.
    mutating func end() {
        guard let pool = live.take() else { return }
        let buffers = pool.buffers
        if buffers > 0 { ended.append(EndedPool(region: pool.region, serial: liveSerial, buffers: buffers)) }
        liveSerial = Self.holdingSerial
    }

    /// Whether any buffer is outside of the session's pool.
    var hasStrays: Bool { !ended.isEmpty || holding != nil }

    /// How many pools of ended sessions are still mapped.
    var endedPools: Int { ended.count }

    /// A buffer in the session's pool, or in private memory while there is none.
    mutating func allocate(bytes: Int) -> UInt32? {
        guard bytes > 0, let place = reserve(bytes: bytes) else {
            starved = true
            return nil
        }
        if freeHead == Self.noEntry {
            entries.append(place)
            return UInt32(entries.count - 1)
        }
        let index = freeHead
        freeHead = entries[Int(index)].nextFree
        entries[Int(index)] = place
        return index
    }

    /// The buffer's bytes.
    func bytes(of index: UInt32) -> UnsafeMutableRawBufferPointer {
        let entry = entries[Int(index)]
        precondition(entry.serial != Self.freeSerial, "a front end used a buffer that it had released")
        // SAFETY: an entry that is not free names memory that this table keeps.
        return unsafe UnsafeMutableRawBufferPointer(start: entry.base, count: Int(entry.length))
    }

    /// The buffer's place in the session's pool; `nil` when it is elsewhere: it has to move first.
    func poolOffset(of index: UInt32) -> UInt64? {
        let entry = entries[Int(index)]
        guard entry.serial == liveSerial, liveSerial != Self.holdingSerial else { return nil }
        return UInt64(entry.page) * UInt64(PageAllocator.pageSize)
    }

    /// Moves a buffer into the session's pool. False: there is no room now, and nothing has changed.
    mutating func move(_ index: UInt32, copying: Bool) -> Bool {
        let old = entries[Int(index)]
        guard let place = reserve(bytes: Int(old.length)) else {
            starved = true
            return false
        }
        // SAFETY: both ranges belong to this table, are that long, and do not overlap: they lie in different pools.
        if copying { unsafe place.base.copyMemory(from: old.base, byteCount: Int(old.length)) }
        giveBack(old)
        entries[Int(index)] = place
        return true
    }

    /// Gives a buffer back.
    mutating func release(_ index: UInt32) {
        let entry = entries[Int(index)]
        precondition(entry.serial != Self.freeSerial, "a front end released a buffer twice")
        giveBack(entry)
        entries[Int(index)].serial = Self.freeSerial
        entries[Int(index)].nextFree = freeHead
        freeHead = index
        releasedSome = true
    }

    private mutating func reserve(bytes: Int) -> Entry? {
        let pages = (bytes + PageAllocator.pageSize - 1) / PageAllocator.pageSize
        if liveSerial != Self.holdingSerial {
            return live?.reserve(pages: pages, bytes: bytes, serial: liveSerial)
        }
        if holding == nil { holding = Holding(byteCount: holdingBytes) }
        return holding?.reserve(pages: pages, bytes: bytes, serial: Self.holdingSerial)
    }

    private mutating func giveBack(_ entry: Entry) {
        if entry.serial == Self.holdingSerial {
            let left = holding?.giveBack(entry) ?? 0
            if left == 0, liveSerial != Self.holdingSerial { holding = nil }
        } else if entry.serial == liveSerial {
            live?.giveBack(entry)
        } else if let position = ended.firstIndex(where: { $0.serial == entry.serial }) {
            ended[position].buffers -= 1
            if ended[position].buffers == 0 { ended.remove(at: position) }
        }
    }
}
