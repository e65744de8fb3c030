/// A front end's request, as the stub remembers it until it is completed.
struct Request {
    enum Phase: UInt8 {
        /// This entry of the table is free.
        case free
        /// Waits for a session, or for room on its queue.
        case held
        /// The DD/OS has it.
        case inFlight
    }

    /// The front end's.
    var tag: UInt64 = 0
    var offset: UInt64 = 0
    /// Bytes.
    var length: UInt32 = 0
    var export: UInt32 = 0
    var operation: BlockOperation = .flush
    var phase: Phase = .free
    /// Complete only when the data is on stable storage.
    var fua = false
    /// The write of a FUA request is done, its flush is not. Forgotten on replay: a new life writes again.
    var flushing = false
    /// Index of the buffer, or ``RequestTable/none``.
    var buffer: UInt32 = RequestTable.none
    /// Where its header and status are in the pool, while in flight.
    var control: UInt16 = 0
    /// In the order in which front ends submitted; never reused.
    var sequence: UInt64 = 0
    /// Nanoseconds of the loop's clock.
    var acceptedAt: UInt64 = 0
    /// Nanoseconds of the loop's clock, of the latest time that it was put on a queue.
    var sentAt: UInt64 = 0
    fileprivate var next: UInt32 = RequestTable.none
    fileprivate var previous: UInt32 = RequestTable.none

    var changesDisk: Bool { operation == .write || operation == .discard || operation == .writeZeroes }
}

/// Every request that front ends wait for, in private memory: the DD/OS can neither see nor change it, and it
/// outlives every session.
///
/// Two kinds of lists run through the entries: one of requests in flight, in the order of sending, so that its head
/// is the one whose deadline comes first; and one per export of requests held, oldest first. All steps but
/// ``holdAllInFlight()`` are O(1); the table grows by doubling and never shrinks.
struct RequestTable: ~Copyable {
    static let none = UInt32.max

    private struct List {
        var head = RequestTable.none
        var tail = RequestTable.none
    }

    private var entries: [Request] = []
    private var freeHead = RequestTable.none
    private var flying = List()
    private var held: [List] = []
    private var nextSequence: UInt64 = 0
    private(set) var inFlightCount = 0
    private(set) var heldCount = 0

    var isEmpty: Bool { inFlightCount == 0 && heldCount == 0 }

    init(exports: Int, capacity: Int) {
        held = Array(repeating: List(), count: exports)
        entries.reserveCapacity(capacity)
        for _ in 0..<capacity { appendFreeEntry() }
    }

    /// Entries for a request; the index stays valid until ``remove(_:)``.
    subscript(index: UInt32) -> Request {
        get { entries[Int(index)] }
        _modify { yield &entries[Int(index)] }
    }

    /// Puts a new request at the end of its export's held list.
    mutating func add(
        export: Int, operation: BlockOperation, offset: UInt64, length: UInt32, fua: Bool, buffer: UInt32, tag: UInt64, now: UInt64
    ) -> UInt32 {
        if freeHead == Self.none {
            let count = max(64, entries.count)
            for _ in 0..<count { appendFreeEntry() }
        }
        while held.count <= export { held.append(List()) }
        let index = freeHead
        freeHead = entries[Int(index)].next
        entries[Int(index)] = Request(
            tag: tag, offset: offset, length: length, export: UInt32(export), operation: operation, phase: .held, fua: fua, flushing: false,
            buffer: buffer, sequence: nextSequence, acceptedAt: now, sentAt: 0)
        nextSequence += 1
        Self.append(index, to: &held[export], in: &entries)
        heldCount += 1
        return index
    }

    /// The oldest request held for this export.
    func firstHeld(export: Int) -> UInt32? {
        guard export < held.count, held[export].head != Self.none else { return nil }
        return held[export].head
    }

    /// Requests of one kind that are held for this export and longer than `limit` bytes.
    func held(export: Int, _ operation: BlockOperation, longerThan limit: UInt32) -> [UInt32] {
        var found: [UInt32] = []
        var index = firstHeld(export: export) ?? Self.none
        while index != Self.none {
            let request = entries[Int(index)]
            if request.operation == operation, request.length > limit { found.append(index) }
            index = request.next
        }
        return found
    }

    /// The request that is in flight for the longest time.
    var firstInFlight: UInt32? { flying.head == Self.none ? nil : flying.head }

    /// The oldest request held for any export.
    func oldestHeld() -> UInt32? {
        var best: UInt32?
        for list in held where list.head != Self.none {
            if let current = best, entries[Int(current)].sequence <= entries[Int(list.head)].sequence { continue }
            best = list.head
        }
        return best
    }

    /// Held → in flight.
    mutating func markSent(_ index: UInt32, now: UInt64) {
        precondition(entries[Int(index)].phase == .held, "only a held request can be sent")
        let export = Int(entries[Int(index)].export)
        Self.unlink(index, from: &held[export], in: &entries)
        heldCount -= 1
        entries[Int(index)].phase = .inFlight
        entries[Int(index)].sentAt = now
        Self.append(index, to: &flying, in: &entries)
        inFlightCount += 1
    }

    /// In flight → held again at the head of its list: the flush after a write with FUA goes before everything younger.
    mutating func holdForFlush(_ index: UInt32) {
        precondition(entries[Int(index)].phase == .inFlight, "only a request in flight can need a flush")
        Self.unlink(index, from: &flying, in: &entries)
        inFlightCount -= 1
        entries[Int(index)].phase = .held
        entries[Int(index)].flushing = true
        let export = Int(entries[Int(index)].export)
        Self.prepend(index, to: &held[export], in: &entries)
        heldCount += 1
    }

    /// The session is gone: everything in flight is held again, and every held list is in the order of submission, so that
    /// the next session sends the oldest first. Returns how many were in flight.
    mutating func holdAllInFlight() -> Int {
        let lost = inFlightCount
        guard lost > 0 || heldCount > 0 else { return 0 }
        var order: [UInt32] = []
        order.reserveCapacity(inFlightCount + heldCount)
        for index in entries.indices where entries[index].phase != .free { order.append(UInt32(index)) }
        order.sort { entries[Int($0)].sequence < entries[Int($1)].sequence }
        flying = List()
        for export in held.indices { held[export] = List() }
        for index in order {
            entries[Int(index)].phase = .held
            entries[Int(index)].flushing = false
            let export = Int(entries[Int(index)].export)
            Self.append(index, to: &held[export], in: &entries)
        }
        inFlightCount = 0
        heldCount = order.count
        return lost
    }

    /// Forgets a request, held or in flight; returns what it was.
    mutating func remove(_ index: UInt32) -> Request {
        let request = entries[Int(index)]
        switch request.phase {
        case .held:
            Self.unlink(index, from: &held[Int(request.export)], in: &entries)
            heldCount -= 1
        case .inFlight:
            Self.unlink(index, from: &flying, in: &entries)
            inFlightCount -= 1
        case .free:
            preconditionFailure("a request was completed twice")
        }
        entries[Int(index)].phase = .free
        entries[Int(index)].next = freeHead
        freeHead = index
        return request
    }

    // MARK: lists

    private mutating func appendFreeEntry() {
        var entry = Request()
        entry.next = freeHead
        freeHead = UInt32(entries.count)
        entries.append(entry)
    }

    private static func append(_ index: UInt32, to list: inout List, in entries: inout [Request]) {
        entries[Int(index)].next = none
        entries[Int(index)].previous = list.tail
        if list.tail == none { list.head = index } else { entries[Int(list.tail)].next = index }
        list.tail = index
    }

    private static func prepend(_ index: UInt32, to list: inout List, in entries: inout [Request]) {
        entries[Int(index)].previous = none
        entries[Int(index)].next = list.head
        if list.head == none { list.tail = index } else { entries[Int(list.head)].previous = index }
        list.head = index
    }

    private static func unlink(_ index: UInt32, from list: inout List, in entries: inout [Request]) {
        let (next, previous) = (entries[Int(index)].next, entries[Int(index)].previous)
        if previous == none { list.head = next } else { entries[Int(previous)].next = next }
        if next == none { list.tail = previous } else { entries[Int(next)].previous = previous }
        entries[Int(index)].next = none
        entries[Int(index)].previous = none
    }
}
