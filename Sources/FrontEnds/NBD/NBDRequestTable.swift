internal import ClientStub

/// A client's request on its way through the service.
struct NBDPending {
    var request = NBDRequest(type: 0, cookie: 0, offset: 0, length: 0)
    var command = NBDCommand.read
    /// Index of the connection.
    var client: Int32 = -1
    var buffer: BufferHandle?
    /// Of a read or write that is longer than the disk takes at once: where its data is.
    var long = LongBuffers.none
    /// Bytes of a request in pieces that the service has been asked for.
    var asked: UInt32 = 0
    /// Bytes of a long request's piece under way.
    var piece: UInt32 = 0
    /// The flush after the pieces of a split request with FUA is under way.
    var flushing = false
    fileprivate var next = NBDConnection.none
}

/// All requests of all clients; an entry's index is the request's tag in the service. Grows to the most that were ever
/// pending at a time, which the limits bound.
struct NBDRequestTable {
    private var entries: ContiguousArray<NBDPending> = []
    private var free = NBDConnection.none

    subscript(index: UInt32) -> NBDPending {
        _read { yield entries[Int(index)] }
        _modify { yield &entries[Int(index)] }
    }

    mutating func add(_ request: NBDRequest, _ command: NBDCommand, client: Int) -> UInt32 {
        var entry = NBDPending()
        entry.request = request
        entry.command = command
        entry.client = Int32(truncatingIfNeeded: client)
        if free == NBDConnection.none {
            entries.append(entry)
            return UInt32(truncatingIfNeeded: entries.count - 1)
        }
        let index = free
        free = entries[Int(index)].next
        entries[Int(index)] = entry
        return index
    }

    mutating func remove(_ index: UInt32) {
        entries[Int(index)].next = free
        entries[Int(index)].client = -1
        free = index
    }

    /// The index that a tag of the service stands for, if it stands for one.
    func index(ofTag tag: UInt64) -> UInt32? {
        guard tag < UInt64(entries.count), entries[Int(tag)].client >= 0 else { return nil }
        return UInt32(tag)
    }
}
