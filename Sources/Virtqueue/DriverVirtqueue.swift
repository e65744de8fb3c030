public import Synchronization

/// A buffer that a driver offers to a device: an address in the memory they share, and who may write it.
public struct DriverBuffer: Equatable, Sendable {
    /// A pool offset.
    public let address: UInt64
    /// Bytes.
    public let count: UInt32
    /// For the device to write (true) or to read (false).
    public let isWritable: Bool

    @inlinable
    public init(address: UInt64, count: UInt32, isWritable: Bool) {
        self.address = address
        self.count = count
        self.isWritable = isWritable
    }

    /// For the device to read.
    @inlinable
    public static func readable(_ address: UInt64, _ count: UInt32) -> DriverBuffer {
        DriverBuffer(address: address, count: count, isWritable: false)
    }

    /// For the device to write.
    @inlinable
    public static func writable(_ address: UInt64, _ count: UInt32) -> DriverBuffer {
        DriverBuffer(address: address, count: count, isWritable: true)
    }
}

/// A chain that the device gave back.
public struct UsedChain: Equatable, Sendable {
    /// What the chain was added with.
    public let token: UInt64
    /// Bytes that the device says it wrote; never more than the chain had room for.
    public let length: UInt32

    @inlinable
    init(token: UInt64, length: UInt32) {
        self.token = token
        self.length = length
    }
}

/// The driver's side of a split virtqueue (virtio 1.2, 2.7): offers chains, takes them back when used.
///
/// Keeps all its state in private memory: the descriptor table and the avail ring are only ever written, so nothing that the
/// device scribbles there is believed. Knows nothing of doorbells: `publish` says whether one is due.
/// The memory of the rings must stay mapped as long as the queue is in use.
@safe
public struct DriverVirtqueue: ~Copyable {
    /// What the driver remembers of a descriptor.
    @usableFromInline
    struct Slot {
        /// Of a head in flight.
        @usableFromInline var token: UInt64
        /// Of a head in flight: room for the device to write.
        @usableFromInline var writableBytes: UInt32
        /// The next descriptor of the chain, or of the free list.
        @usableFromInline var next: UInt16
        /// Of a head in flight: descriptors of the table that the chain occupies. 0 for all others.
        @usableFromInline var length: UInt16
    }

    @usableFromInline let rings: Rings
    @usableFromInline let features: VirtqueueFeatures
    @usableFromInline let slots: UnsafeMutablePointer<Slot>
    /// The indirect tables, one for each descriptor; nil if not used.
    @usableFromInline let tables: UnsafeMutableRawPointer?
    @usableFromInline let tablesAddress: UInt64
    @usableFromInline let tableEntries: UInt16
    @usableFromInline var firstFree: UInt16 = 0
    @usableFromInline var freeCount: UInt16
    @usableFromInline var chains: UInt16 = 0
    @usableFromInline var nextAvail: UInt16 = 0
    @usableFromInline var publishedAvail: UInt16 = 0
    @usableFromInline var nextUsed: UInt16 = 0
    @usableFromInline var knownUsed: UInt16 = 0

    /// Sets up an empty queue: zeroes its rings. The device must not be running on it yet.
    ///
    /// Indirect tables are used if the layout has room for them and `features` has INDIRECT_DESC.
    public init<Memory: VirtqueueMemory>(
        _ layout: VirtqueueLayout, in memory: Memory, features: VirtqueueFeatures
    ) throws(VirtqueueError) {
        let rings = try Rings(layout, in: memory)
        let size = Int(layout.size)
        var tables: UnsafeMutableRawPointer? = nil
        if features.contains(.indirectDescriptors), layout.indirectEntries > 0 {
            unsafe tables = try Rings.part(layout.indirect, UInt64(size) * UInt64(layout.indirectEntries) * 16, 16, memory)
        }
        self.rings = rings
        self.features = features
        unsafe self.tables = tables
        tablesAddress = layout.indirect
        tableEntries = unsafe tables == nil ? 0 : layout.indirectEntries
        freeCount = layout.size
        unsafe slots = .allocate(capacity: size)
        for index in 0..<size {
            unsafe (slots + index).initialize(
                to: Slot(token: 0, writableBytes: 0, next: UInt16(truncatingIfNeeded: index + 1), length: 0))
        }
        // SAFETY: Rings has checked that the three parts are in memory, with these lengths.
        unsafe rings.descriptors.initializeMemory(as: UInt8.self, repeating: 0, count: size * 16)
        unsafe rings.driver.initializeMemory(as: UInt8.self, repeating: 0, count: 6 + size * 2)
        unsafe rings.device.initializeMemory(as: UInt8.self, repeating: 0, count: 6 + size * 8)
    }

    deinit {
        unsafe slots.deallocate()
    }

    /// Descriptors in the table.
    @inlinable public var size: UInt16 { rings.size }
    /// Descriptors that are free. A chain takes one with an indirect table, else one for each buffer.
    @inlinable public var freeDescriptors: UInt16 { freeCount }
    /// Chains that were added and have not come back.
    @inlinable public var inFlight: UInt16 { chains }

    // MARK: offering

    /// Puts a chain in the ring; the device sees it at the next `publish`. False: not enough free descriptors now.
    ///
    /// All readable buffers come before the writable ones (`readableAfterWritable`), and together the writable ones hold less than
    /// 2³² bytes. `token` comes back with the chain. Addresses are not checked here: they are the caller's own.
    @inlinable
    public mutating func add(_ buffers: Span<DriverBuffer>, token: UInt64) throws(VirtqueueError) -> Bool {
        let count = buffers.count
        guard count > 0 else { throw .chainEmpty }
        let head = firstFree
        let indirect = count > 1 && count <= Int(tableEntries)
        guard count <= Int(rings.size) || indirect else { throw .chainTooLong(head: head) }
        let needed = indirect ? 1 : UInt16(truncatingIfNeeded: count)
        guard needed <= freeCount else { return false }

        var writableBytes: UInt32 = 0
        var writing = false
        var index = head
        // SAFETY: `slots` has an entry for each descriptor; the free list holds only numbers of descriptors, and at least
        // `needed` of them. The head's indirect table has room for `tableEntries` entries.
        let table = unsafe indirect ? tables.unsafelyUnwrapped + Int(head) &* Int(tableEntries) &* 16 : rings.descriptors
        for position in 0..<count {
            let buffer = buffers[position]
            var flags: UInt16 = 0
            if buffer.isWritable {
                writing = true
                flags = 2
                writableBytes &+= buffer.count
            } else if writing {
                throw .readableAfterWritable(head: head)
            }
            let next: UInt16
            if indirect {
                index = UInt16(truncatingIfNeeded: position)
                next = index &+ 1
            } else {
                next = unsafe slots[Int(index)].next
            }
            let last = position == count - 1
            unsafe Rings.store(
                Descriptor(address: buffer.address, length: buffer.count, flags: last ? flags : flags | 1, next: last ? 0 : next),
                index, of: table)
            index = next
        }
        if indirect {
            let address = tablesAddress &+ UInt64(head) &* UInt64(tableEntries) &* 16
            unsafe Rings.store(
                Descriptor(address: address, length: UInt32(truncatingIfNeeded: count) &* 16, flags: 4, next: 0), head,
                of: rings.descriptors)
            index = unsafe slots[Int(head)].next
        }
        firstFree = index
        freeCount &-= needed
        unsafe slots[Int(head)].token = token
        unsafe slots[Int(head)].writableBytes = writableBytes
        unsafe slots[Int(head)].length = needed
        chains &+= 1
        unsafe Rings.store16(head, rings.availEntry(nextAvail))
        nextAvail &+= 1
        return true
    }

    /// Shows the device all chains added so far. True: it wants a doorbell.
    @inlinable
    public mutating func publish() -> Bool {
        let old = publishedAvail
        if old == nextAvail { return false }
        publishedAvail = nextAvail
        // Release: descriptors and data are seen before the index. The fence: see DeviceVirtqueue.publishUsed.
        unsafe Rings.release16(nextAvail, rings.availIndex)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if features.contains(.eventIndex) {
            return unsafe Rings.passed(Rings.load16(rings.availEvent), from: old, to: nextAvail)
        }
        return unsafe Rings.load16(rings.usedFlags) & 1 == 0  // VIRTQ_USED_F_NO_NOTIFY
    }

    // MARK: taking back

    /// Whether a used chain can be taken. One load; for a loop that polls before it sleeps.
    @inlinable
    public var hasUsed: Bool {
        // SAFETY: see Rings.
        unsafe nextUsed != knownUsed || Rings.load16(rings.usedIndex) != nextUsed
    }

    /// Takes the next chain that the device has given back; nil: there is none now. Its descriptors are free again.
    @inlinable
    public mutating func popUsed() throws(VirtqueueError) -> UsedChain? {
        if nextUsed == knownUsed {
            let found = unsafe Rings.acquire16(rings.usedIndex)
            if found == nextUsed { return nil }
            // Chains that were not published cannot have come back either.
            let visible = chains &- (nextAvail &- publishedAvail)
            guard found &- nextUsed <= visible else { throw .usedIndexInvalid(expected: nextUsed, found: found) }
            knownUsed = found
        }
        let entry = unsafe rings.usedEntry(nextUsed)
        let id = unsafe Rings.load32(entry)
        let length = unsafe Rings.load32(entry + 4)
        guard id < UInt32(rings.size) else { throw .usedUnknown(id: id) }
        // SAFETY: `id` is a descriptor's number; chains consist of such numbers, in private memory.
        let head = Int(id)
        let slot = unsafe slots[head]
        guard slot.length > 0 else { throw .usedUnknown(id: id) }
        guard length <= slot.writableBytes else { throw .usedLengthInvalid(id: id, length: length) }
        nextUsed &+= 1
        var last = head
        for _ in 1..<slot.length { unsafe last = Int(slots[last].next) }
        unsafe slots[last].next = firstFree
        unsafe slots[head].length = 0
        firstFree = UInt16(truncatingIfNeeded: head)
        freeCount &+= slot.length
        chains &-= 1
        return UsedChain(token: slot.token, length: length)
    }

    // MARK: asking for doorbells

    /// Asks the device for a doorbell, before going to sleep, when it has given back `wanted` more chains (from 1; more than 1 only
    /// counts with EVENT_IDX). True: that many are there already, so do not sleep.
    @inlinable
    public mutating func enableNotification(after wanted: UInt16 = 1) -> Bool {
        // Never more than can come back: that doorbell would never ring.
        let count = max(1, min(wanted, chains))
        if features.contains(.eventIndex) {
            unsafe Rings.store16(nextUsed &+ count &- 1, rings.usedEvent)
        } else {
            unsafe Rings.store16(0, rings.availFlags)
        }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        // SAFETY: see Rings.
        let found = unsafe Rings.load16(rings.usedIndex)
        return found &- nextUsed >= (features.contains(.eventIndex) ? count : 1)
    }

    /// Tells the device that doorbells are not needed: this side is looking anyway. A hint, not a promise.
    @inlinable
    public mutating func disableNotification() {
        // With EVENT_IDX the old event index is passed already, and says no for the next 65535 chains.
        if !features.contains(.eventIndex) { unsafe Rings.store16(1, rings.availFlags) }  // VIRTQ_AVAIL_F_NO_INTERRUPT
    }
}
