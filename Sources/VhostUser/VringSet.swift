internal import LinuxSystem
public import Virtqueue

/// The running queues of a device and the guest memory they are in: what a ``VhostUserDevice`` works with.
///
/// Every method takes a queue's number and does nothing (or says false) while that queue does not run. An error is a protocol
/// violation of the guest's, and ends the session.
public struct VringSet: ~Copyable {
    /// As many as any device of Drover has.
    public static let most = 8
    /// ``giveBackLazily(_:_:)`` is immediate for queues shorter than this.
    public static let shortestLazy = 128

    var rings: InlineArray<8, Vring>
    var table: MemoryTable?
    let count: Int

    init(count: Int) {
        precondition(count > 0 && count <= Self.most)
        rings = InlineArray { _ in Vring() }
        self.count = count
    }

    /// Whether the queue is started and enabled.
    public func isRunning(_ queue: Int) -> Bool {
        rings[queue].isEnabled && rings[queue].isStarted
    }

    /// Descriptors in the queue; 0 while it is stopped.
    public func size(_ queue: Int) -> Int { rings[queue].queueSize }

    /// Takes the next chain of the driver's. False: none there, or not running.
    public mutating func pop(_ queue: Int, into chain: inout DescriptorChain) throws(VhostUserError) -> Bool {
        guard rings[queue].isEnabled, rings[queue].isStarted, let table else { return false }
        do {
            return try rings[queue].queue!.pop(from: table.memory, into: &chain)
        } catch { throw .virtqueue(queue: queue, error) }
    }

    /// Gives a chain back, with `length` bytes written to it. The driver sees it, and is called if it wants, at the end of the turn.
    public mutating func giveBack(_ queue: Int, head: UInt16, length: UInt32) {
        rings[queue].queue?.pushUsed(head: head, length: length)
        rings[queue].unpublished = Int.max / 2
    }

    /// Gives a chain back that the driver does not wait for (the bytes were taken, nothing was written), without an interrupt
    /// for each: the driver sees it when a quarter of the queue has come together, or when the queue stops.
    ///
    /// A driver whose queue is full is never left waiting, as long as the device takes no chain longer than half of the
    /// shortest queue for which this is lazy: then at least the other half is there to be given back.
    public mutating func giveBackLazily(_ queue: Int, _ chain: borrowing DescriptorChain) {
        rings[queue].queue?.pushUsed(head: chain.head, length: 0)
        // One more than its buffers, for an indirect table.
        rings[queue].unpublished += chain.count + 1
    }

    /// Asks for a kick at the next chain. True: one is there already, or came just now.
    public mutating func enableKicks(_ queue: Int) -> Bool {
        guard rings[queue].isEnabled else { return false }
        return rings[queue].queue?.enableNotification() ?? false
    }

    /// Says that no kicks are needed. A hint.
    public mutating func disableKicks(_ queue: Int) {
        rings[queue].queue?.disableNotification()
    }

    /// Whether the driver has put something there that was not taken. One load.
    public func hasAvailable(_ queue: Int) -> Bool {
        guard rings[queue].isEnabled else { return false }
        return rings[queue].hasAvailable
    }

    /// Kicks the queue as the driver would, so that the event loop comes back to it after others had their turn.
    public func kick(_ queue: Int) {
        if let descriptor = rings[queue].kickDescriptor { EventCounter.signal(descriptor) }
    }

    /// Shows drivers what was given back, and calls those that want it: one write(2) per queue at most.
    public mutating func publish() {
        for index in 0..<count where rings[index].isStarted {
            let unpublished = rings[index].unpublished
            let size = rings[index].queueSize
            // Lazily given back ones count their descriptors; any other counts more than every size.
            if unpublished > 0, size < Self.shortestLazy || unpublished >= size / 4 { rings[index].publish() }
            rings[index].ring()
        }
    }

    /// Rebuilds every started queue in another table, where it stands. The old one stays mapped until this is done.
    mutating func move(to table: MemoryTable, features: VirtqueueFeatures) throws(VhostUserError) {
        for index in 0..<count where rings[index].isStarted {
            rings[index].publish()
            rings[index].base = rings[index].availIndex
            try rings[index].start(index, in: table, features: features)
        }
        self.table = table
    }
}
