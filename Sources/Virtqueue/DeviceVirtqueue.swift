public import Synchronization

/// The device's side of a split virtqueue (virtio 1.2, 2.7): takes chains that the driver made available, gives them back as used.
///
/// Believes nothing that the driver writes. Knows nothing of doorbells: `publishUsed` says whether one is due, and whoever owns
/// the queue rings it. The memory of the rings must stay mapped as long as the queue is in use.
@safe
public struct DeviceVirtqueue: ~Copyable {
    @usableFromInline let rings: Rings
    @usableFromInline let features: VirtqueueFeatures
    /// The next avail entry to take.
    @usableFromInline var nextAvail: UInt16
    /// How far the driver is known to have come, without looking again.
    @usableFromInline var knownAvail: UInt16
    /// The next used entry to write, and how far the driver has been told.
    @usableFromInline var nextUsed: UInt16
    @usableFromInline var publishedUsed: UInt16

    /// Starts on a queue that the driver has set up, from the beginning or (after a reset of the back end, for vhost-user) from
    /// where it was: `availIndex` is the next chain to take, `usedIndex` what the used ring's index says.
    public init<Memory: VirtqueueMemory>(
        _ layout: VirtqueueLayout, in memory: Memory, features: VirtqueueFeatures, availIndex: UInt16 = 0, usedIndex: UInt16 = 0
    ) throws(VirtqueueError) {
        rings = try Rings(layout, in: memory)
        self.features = features
        nextAvail = availIndex
        knownAvail = availIndex
        nextUsed = usedIndex
        publishedUsed = usedIndex
    }

    /// What the used ring's index says now, to resume a queue whose state was lost.
    public static func usedIndex<Memory: VirtqueueMemory>(
        of layout: VirtqueueLayout, in memory: Memory
    ) throws(VirtqueueError) -> UInt16 {
        let rings = try Rings(layout, in: memory)
        // SAFETY: see Rings.
        return unsafe Rings.load16(rings.usedIndex)
    }

    /// Descriptors in the table.
    @inlinable public var size: UInt16 { rings.size }
    /// The number of the next chain to take, modulo 2¹⁶ (vhost-user's vring base).
    @inlinable public var availIndex: UInt16 { nextAvail }

    // MARK: taking

    /// Whether there is a chain to take. One load; for a loop that polls before it sleeps.
    @inlinable
    public var hasAvailable: Bool {
        // SAFETY: see Rings.
        unsafe nextAvail != knownAvail || Rings.load16(rings.availIndex) != nextAvail
    }

    /// Takes the next chain, with every buffer checked to lie in `memory`. False: there is none now.
    @inlinable
    public mutating func pop<Memory: VirtqueueMemory>(
        from memory: Memory, into chain: inout DescriptorChain
    ) throws(VirtqueueError) -> Bool {
        if nextAvail == knownAvail {
            // Acquire: what the driver wrote before it moved the index is seen after this.
            let found = unsafe Rings.acquire16(rings.availIndex)
            if found == nextAvail { return false }
            guard found &- nextAvail <= rings.size else { throw .availIndexInvalid(expected: nextAvail, found: found) }
            knownAvail = found
        }
        let head = unsafe Rings.load16(rings.availEntry(nextAvail))
        nextAvail &+= 1
        chain.reset(head: head)

        var index = head
        var steps: UInt16 = 0
        while true {
            guard index < rings.size else { throw .descriptorOutOfRange(index) }
            let descriptor = unsafe Rings.descriptor(index, of: rings.descriptors)
            if descriptor.isIndirect {
                try appendIndirect(descriptor, in: memory, to: &chain)
                return true
            }
            try chain.append(descriptor, in: memory)
            guard descriptor.hasNext else { return true }
            steps &+= 1
            guard steps < rings.size else { throw .chainLoops(head: head) }
            index = descriptor.next
        }
    }

    /// Follows an indirect table, which ends the chain (2.7.5.3): buffers before it are allowed, a table in it is not.
    @inlinable
    func appendIndirect<Memory: VirtqueueMemory>(
        _ pointer: Descriptor, in memory: Memory, to chain: inout DescriptorChain
    ) throws(VirtqueueError) {
        guard features.contains(.indirectDescriptors) else { throw .indirectNotNegotiated(head: chain.first) }
        guard !pointer.hasNext else { throw .indirectMisplaced(head: chain.first) }
        let length = pointer.length
        // The numbers in a table are 16 bits wide, so longer ones cannot be meant.
        guard length != 0, length % 16 == 0, length <= 65536 * 16,
            let table = unsafe memory.translate(pointer.address, length: UInt64(length)),
            UInt(bitPattern: table) % 8 == 0
        else { throw .indirectTableInvalid(address: pointer.address, length: length) }
        let entries = length / 16

        var index: UInt16 = 0
        var steps: UInt32 = 0
        while true {
            guard UInt32(index) < entries else { throw .descriptorOutOfRange(index) }
            // SAFETY: the table lies in the memory, is aligned for the loads, and has more than `index` entries.
            let descriptor = unsafe Rings.descriptor(index, of: table)
            guard !descriptor.isIndirect else { throw .indirectMisplaced(head: chain.first) }
            try chain.append(descriptor, in: memory)
            guard descriptor.hasNext else { return }
            steps &+= 1
            guard steps < entries else { throw .chainLoops(head: chain.first) }
            index = descriptor.next
        }
    }

    // MARK: giving back

    /// Gives a chain back, `length` bytes of its writable part written. The driver sees it at the next `publishUsed`.
    ///
    /// `head` is the chain's; each chain that was taken is given back once.
    @inlinable
    public mutating func pushUsed(head: UInt16, length: UInt32) {
        // SAFETY: see Rings.
        let entry = unsafe rings.usedEntry(nextUsed)
        unsafe Rings.store32(UInt32(head), entry)
        unsafe Rings.store32(length, entry + 4)
        nextUsed &+= 1
    }

    /// Shows the driver all chains given back so far. True: it wants a doorbell.
    @inlinable
    public mutating func publishUsed() -> Bool {
        let old = publishedUsed
        if old == nextUsed { return false }
        publishedUsed = nextUsed
        // Release: the elements and the data are seen before the index.
        unsafe Rings.release16(nextUsed, rings.usedIndex)
        // The driver stores its wish, then looks at the index; here it is the other way round. Without a full fence on both
        // sides each could miss the other's store, and sleep for ever (2.7.7.2, 2.7.8.2).
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if features.contains(.eventIndex) {
            return unsafe Rings.passed(Rings.load16(rings.usedEvent), from: old, to: nextUsed)
        }
        return unsafe Rings.load16(rings.availFlags) & 1 == 0  // VIRTQ_AVAIL_F_NO_INTERRUPT
    }

    // MARK: asking for doorbells

    /// Asks the driver for a doorbell at its next chain, before going to sleep. True: a chain is there already, so do not sleep.
    @inlinable
    public mutating func enableNotification() -> Bool {
        if features.contains(.eventIndex) {
            unsafe Rings.store16(nextAvail, rings.availEvent)
        } else {
            unsafe Rings.store16(0, rings.usedFlags)
        }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        // SAFETY: see Rings.
        return unsafe Rings.load16(rings.availIndex) != nextAvail
    }

    /// Tells the driver that doorbells are not needed: this side is looking anyway. A hint, not a promise.
    @inlinable
    public mutating func disableNotification() {
        // With EVENT_IDX the old event index is passed already, and says no for the next 65535 chains.
        if !features.contains(.eventIndex) { unsafe Rings.store16(1, rings.usedFlags) }  // VIRTQ_USED_F_NO_NOTIFY
    }
}
