import Testing

@testable import ClientStub

extension RequestTable {
    fileprivate mutating func add(_ tag: UInt64, export: Int = 0, fua: Bool = false) -> UInt32 {
        add(export: export, operation: .write, offset: tag * 4096, length: 4096, fua: fua, buffer: Self.none, tag: tag, now: tag)
    }

    fileprivate func heldTags(_ export: Int = 0) -> UInt64? { firstHeld(export: export).map { self[$0].tag } }
}

@Suite("Requests that front ends wait for")
struct RequestTableTests {
    @Test func writesAreReplayedOldestFirstAndBeforeYoungerOnes() {
        var table = RequestTable(exports: 1, capacity: 4)
        let indices = (0..<6).map { table.add(UInt64($0)) }
        for index in indices.prefix(4) { table.markSent(index, now: 100) }
        // The second is done; the first wrote and now flushes, so it was sent later than the others.
        _ = table.remove(indices[1])
        table.holdForFlush(indices[0])
        table.markSent(indices[0], now: 200)
        #expect(table.inFlightCount == 3)

        #expect(table.holdAllInFlight() == 3)
        #expect(table.heldCount == 5)
        var order: [UInt64] = []
        while let index = table.firstHeld(export: 0) {
            #expect((table[index].flushing) == false, "a new life writes again before it flushes")
            order.append(table.remove(index).tag)
        }
        #expect(order == [0, 2, 3, 4, 5])
        #expect((table.isEmpty) == true)
    }

    @Test func theOldestSentIsTheFirstWhoseDeadlineComes() {
        var table = RequestTable(exports: 1, capacity: 4)
        let (first, second) = (table.add(1), table.add(2))
        table.markSent(first, now: 10)
        table.markSent(second, now: 20)
        #expect(table.firstInFlight == first)
        table.holdForFlush(first)
        #expect(table.firstInFlight == second)
        table.markSent(first, now: 30)
        #expect(table.firstInFlight == second)
        _ = table.remove(second)
        #expect(table.firstInFlight == first)
        #expect(table[first].sentAt == 30)
    }

    @Test func aFlushOfAWriteGoesBeforeYoungerRequests() {
        var table = RequestTable(exports: 1, capacity: 4)
        let first = table.add(1, fua: true)
        _ = table.add(2)
        table.markSent(first, now: 10)
        table.holdForFlush(first)
        #expect(table.heldTags() == 1)
    }

    @Test func exportsDoNotWaitForEachOther() {
        var table = RequestTable(exports: 2, capacity: 4)
        _ = table.add(1, export: 0)
        _ = table.add(2, export: 1)
        #expect(table.heldTags(0) == 1)
        #expect(table.heldTags(1) == 2)
        #expect(table.oldestHeld().map { table[$0].tag } == 1)
    }

    @Test func aTableGrowsAndKeepsItsIndices() {
        var table = RequestTable(exports: 1, capacity: 2)
        let indices = (0..<1000).map { table.add(UInt64($0)) }
        #expect(Set(indices).count == 1000)
        for (tag, index) in indices.enumerated() { #expect(table[index].tag == UInt64(tag)) }
    }
}
