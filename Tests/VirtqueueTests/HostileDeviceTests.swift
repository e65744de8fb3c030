import Testing

@testable import Virtqueue

/// What a driver does with a device that breaks the rules.
@Suite struct HostileDeviceTests {
    let pool = Pool(count: 65536)
    let layout = VirtqueueLayout(size: 8, at: 0)
    let ring: RawRing

    init() { ring = RawRing(pool: pool, layout: layout) }

    /// A driver with three chains in flight: heads 0 (2 descriptors, room for 100), 2 (read-only), 3 (room for 1).
    private func driver() throws -> DriverVirtqueue {
        var driver = try DriverVirtqueue(layout, in: pool.memory, features: [.eventIndex])
        let first: [2 of DriverBuffer] = [.readable(4096, 16), .writable(8192, 100)]
        let second: [1 of DriverBuffer] = [.readable(4096, 16)]
        let third: [1 of DriverBuffer] = [.writable(4096, 1)]
        check(try driver.add(first.span, token: 100))
        check(try driver.add(second.span, token: 200))
        check(try driver.add(third.span, token: 300))
        check(driver.publish())
        return driver
    }

    /// What comes back until there is nothing more, or an error.
    private func popAll(_ driver: inout DriverVirtqueue) throws(VirtqueueError) -> [UsedChain] {
        var found: [UsedChain] = []
        while let used = try driver.popUsed() { found.append(used) }
        return found
    }

    /// A fresh driver, then a device that lies, must end in `wanted`.
    private func expect(_ wanted: VirtqueueError, after lie: () -> Void) throws {
        var driver = try driver()
        lie()
        do throws(VirtqueueError) {
            let found = try popAll(&driver)
            Issue.record("took \(found.count) chains")
        } catch { #expect(error == wanted) }
    }

    @Test func honestAnswersAreTaken() throws {
        var driver = try driver()
        ring.use([(3, 1), (0, 100), (2, 0)])
        let found = try popAll(&driver)
        #expect(found.map(\.token) == [300, 100, 200])
        #expect(found.map(\.length) == [1, 100, 0])
        check(driver.freeDescriptors == 8 && driver.inFlight == 0)
    }

    @Test(arguments: [1, 4, 7, 8, 0x10000, .max] as [UInt32])
    func usedIdThatIsNotInFlightIsRefused(id: UInt32) throws {
        // 1 is in flight, but not as a head; 4 to 7 are free; the rest are no descriptors, nor is 0x10000 head 0.
        try expect(.usedUnknown(id: id)) { ring.use([(id, 0)]) }
    }

    @Test func usedIdTwiceIsRefused() throws {
        try expect(.usedUnknown(id: 2)) { ring.use([(2, 0), (2, 0)]) }
    }

    @Test(arguments: [4, 5, 9, 0x8000, 0xffff] as [UInt16])
    func usedIndexPastWhatIsInFlightIsRefused(index: UInt16) throws {
        try expect(.usedIndexInvalid(expected: 0, found: index)) { ring.use([(0, 0), (2, 0), (3, 0)], index: index) }
    }

    @Test func usedIndexThatGoesBackIsRefused() throws {
        var driver = try driver()
        ring.use([(0, 0), (2, 0)])
        check(try popAll(&driver).count == 2)
        ring.use([], index: 1)
        check(driver.enableNotification(), "a lie is work: it must not put the driver to sleep")
        do throws(VirtqueueError) {
            _ = try driver.popUsed()
            Issue.record("taken")
        } catch { #expect(error == .usedIndexInvalid(expected: 2, found: 1)) }
    }

    @Test func usedIndexOfChainsNotPublishedIsRefused() throws {
        var driver = try driver()
        let more: [1 of DriverBuffer] = [.writable(4096, 1)]
        check(try driver.add(more.span, token: 400))
        ring.use([(0, 0), (2, 0), (3, 0), (4, 0)])
        do throws(VirtqueueError) {
            _ = try driver.popUsed()
            Issue.record("taken")
        } catch { #expect(error == .usedIndexInvalid(expected: 0, found: 4)) }
    }

    @Test(arguments: [(0, 101), (0, .max), (2, 1), (3, 2)] as [(UInt32, UInt32)])
    func usedLengthPastTheRoomIsRefused(id: UInt32, length: UInt32) throws {
        try expect(.usedLengthInvalid(id: id, length: length)) { ring.use([(id, length)]) }
    }

    @Test func scribbledDescriptorsAreNotBelieved() throws {
        var driver = try driver()
        for offset in stride(from: 0, to: 8 * 16, by: 8) { pool.store(UInt64.max, at: layout.descriptors + UInt64(offset)) }
        for offset in stride(from: 0, to: 6 + 16, by: 2) { pool.store(UInt16.max, at: layout.driver + UInt64(offset)) }
        ring.use([(0, 100), (2, 0), (3, 1)])
        check(try popAll(&driver).map(\.token) == [100, 200, 300])
        check(driver.freeDescriptors == 8)
        // And all eight descriptors can be offered again.
        for token in 0..<8 as Range<UInt64> {
            let buffer: [1 of DriverBuffer] = [.writable(4096, 8)]
            check(try driver.add(buffer.span, token: token))
        }
        let one: [1 of DriverBuffer] = [.writable(4096, 8)]
        check(try !driver.add(one.span, token: 9))
    }

    @Test func addRefusesWhatNoDeviceCouldTake() throws {
        var driver = try DriverVirtqueue(layout, in: pool.memory, features: [])
        let none: [DriverBuffer] = []
        let backwards: [DriverBuffer] = [.writable(0, 1), .readable(0, 1)]
        let long = [DriverBuffer](repeating: .readable(0, 1), count: 9)
        for (buffers, wanted) in [
            (none, .chainEmpty), (backwards, .readableAfterWritable(head: 0)), (long, .chainTooLong(head: 0)),
        ] as [([DriverBuffer], VirtqueueError)] {
            do throws(VirtqueueError) {
                _ = try driver.add(buffers.span, token: 0)
                Issue.record("added")
            } catch { #expect(error == wanted) }
        }
        check(driver.freeDescriptors == 8 && driver.inFlight == 0)
    }
}
