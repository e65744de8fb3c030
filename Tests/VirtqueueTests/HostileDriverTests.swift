import Testing

@testable import Virtqueue

/// What a device does with a driver that breaks the rules: a typed error, at once, and nothing touched outside the memory.
@Suite struct HostileDriverTests {
    let pool = Pool(count: 65536)
    let layout = VirtqueueLayout(size: 8, at: 0)
    let ring: RawRing
    /// Buffers begin here, behind the rings.
    let buffers: UInt64 = 4096

    init() { ring = RawRing(pool: pool, layout: layout) }

    /// Pops until there is nothing more, or an error.
    private func popAll(
        features: VirtqueueFeatures = [.indirectDescriptors], capacity: Int = 32
    ) throws(VirtqueueError) -> [[DriverBuffer]] {
        var device = try DeviceVirtqueue(layout, in: pool.memory, features: features)
        var chain = DescriptorChain(capacity: capacity)
        var found: [[DriverBuffer]] = []
        while try device.pop(from: pool.memory, into: &chain) {
            var buffers: [DriverBuffer] = []
            for index in 0..<chain.count {
                let segment = chain[index]
                buffers.append(DriverBuffer(address: segment.address, count: segment.count, isWritable: segment.isWritable))
            }
            found.append(buffers)
        }
        return found
    }

    private func expect(_ error: VirtqueueError, features: VirtqueueFeatures = [.indirectDescriptors], capacity: Int = 32) {
        #expect(throws: error) { try popAll(features: features, capacity: capacity) }
    }

    @Test(arguments: [9, 100, 32768, 65535] as [UInt16])
    func availIndexThatJumpsIsRefused(index: UInt16) {
        ring.offer([], index: index)
        expect(.availIndexInvalid(expected: 0, found: index))
    }

    @Test func availIndexThatGoesBackIsRefused() throws {
        ring.descriptor(0, buffers, 1)
        ring.offer([0, 0])
        var device = try DeviceVirtqueue(layout, in: pool.memory, features: [])
        var chain = DescriptorChain(capacity: 4)
        while try device.pop(from: pool.memory, into: &chain) {}
        ring.offer([], index: 1)
        check(device.enableNotification(), "a lie is work: it must not put the device to sleep")
        do throws(VirtqueueError) {
            _ = try device.pop(from: pool.memory, into: &chain)
            Issue.record("popped")
        } catch { #expect(error == .availIndexInvalid(expected: 2, found: 1)) }
    }

    @Test(arguments: [8, 9, 0x7fff, 0xffff] as [UInt16])
    func headOutOfRangeIsRefused(head: UInt16) {
        ring.offer([head])
        expect(.descriptorOutOfRange(head))
    }

    @Test(arguments: [8, 0xffff] as [UInt16])
    func nextOutOfRangeIsRefused(next: UInt16) {
        ring.descriptor(3, buffers, 16, .next, next: next)
        ring.offer([3])
        expect(.descriptorOutOfRange(next))
    }

    @Test func chainThatLoopsIsRefused() {
        ring.descriptor(0, buffers, 16, .next, next: 1)
        ring.descriptor(1, buffers, 16, .next, next: 0)
        ring.offer([0])
        expect(.chainLoops(head: 0))
    }

    @Test func chainThatPointsAtItselfIsRefused() {
        ring.descriptor(5, buffers, 16, [.next, .write], next: 5)
        ring.offer([5])
        expect(.chainLoops(head: 5))
        expect(.chainTooLong(head: 5), capacity: 3)
    }

    @Test func chainAsLongAsTheQueueIsTaken() throws {
        for index in 0..<8 as Range<UInt16> { ring.descriptor(index, buffers, 16, index == 7 ? [] : .next, next: index + 1) }
        ring.offer([0])
        #expect(try popAll(capacity: 8).first?.count == 8)
        expect(.chainTooLong(head: 0), capacity: 7)
    }

    @Test(
        arguments: [
            (65536, 1), (65535, 2), (0, 65537), (UInt64.max, 1), (UInt64.max, 2), (UInt64.max - 15, 16), (1 << 63, 1), (4096, .max),
        ] as [(UInt64, UInt32)])
    func bufferOutsideTheMemoryIsRefused(address: UInt64, length: UInt32) {
        for flags in [[], .write] as [RawRing.Flags] {
            ring.descriptor(0, address, length, flags)
            ring.offer([0])
            expect(.bufferOutsideMemory(address: address, length: length))
        }
    }

    @Test func bufferUpToTheLastByteIsTaken() throws {
        ring.descriptor(0, 65535, 1, .next, next: 1)
        ring.descriptor(1, 65536, 0, [.next, .write], next: 2)
        ring.descriptor(2, 0, 65536, .write)
        ring.offer([0])
        #expect(try popAll() == [[.readable(65535, 1), .writable(65536, 0), .writable(0, 65536)]])
    }

    @Test func readableAfterWritableIsRefused() {
        ring.descriptor(0, buffers, 16, [.next, .write], next: 1)
        ring.descriptor(1, buffers, 16)
        ring.offer([0])
        expect(.readableAfterWritable(head: 0))
    }

    // MARK: indirect tables

    @Test func indirectTableIsFollowed() throws {
        ring.descriptor(2, buffers, 8, .next, next: 3)
        ring.descriptor(3, 8192, 64, [.indirect, .write])  // WRITE means nothing here
        ring.descriptor(0, buffers, 16, .next, next: 3, table: 8192)
        ring.descriptor(3, buffers + 16, 32, [.next, .write], next: 1, table: 8192)
        ring.descriptor(1, buffers + 48, 1, .write, table: 8192)
        ring.offer([2])
        #expect(try popAll() == [[.readable(4096, 8), .readable(4096, 16), .writable(4112, 32), .writable(4144, 1)]])
        expect(.indirectNotNegotiated(head: 2), features: [])
    }

    @Test func indirectTableInAnIndirectTableIsRefused() {
        ring.descriptor(0, 8192, 32, .indirect)
        ring.descriptor(0, 8192, 32, .indirect, table: 8192)
        ring.offer([0])
        expect(.indirectMisplaced(head: 0))
    }

    @Test func indirectTableWithNextIsRefused() {
        ring.descriptor(0, 8192, 32, [.indirect, .next], next: 1)
        ring.offer([0])
        expect(.indirectMisplaced(head: 0))
    }

    @Test(
        arguments: [
            (8192, 0), (8192, 15), (8192, 17), (65536, 16), (65528, 16), (8193, 16), (8192, 0xffff_fff0), (UInt64.max - 15, 16),
            (0, 65536 * 16 + 16),
        ] as [(UInt64, UInt32)])
    func indirectTableThatCannotBeIsRefused(address: UInt64, length: UInt32) {
        ring.descriptor(0, address, length, .indirect)
        ring.offer([0])
        expect(.indirectTableInvalid(address: address, length: length))
    }

    @Test func indirectTableThatLoopsIsRefused() {
        ring.descriptor(0, 8192, 32, .indirect)
        ring.descriptor(0, buffers, 16, .next, next: 1, table: 8192)
        ring.descriptor(1, buffers, 16, .next, next: 0, table: 8192)
        ring.offer([0])
        expect(.chainLoops(head: 0))
    }

    @Test func indirectNextOutOfRangeIsRefused() {
        ring.descriptor(0, 8192, 32, .indirect)
        ring.descriptor(0, buffers, 16, .next, next: 2, table: 8192)
        ring.offer([0])
        expect(.descriptorOutOfRange(2))
    }

    // MARK: set-up

    @Test(arguments: [0, 3, 6, 32769, 65536, 0x8000_0000, .max] as [UInt32])
    func invalidQueueSizeIsRefused(size: UInt32) {
        #expect(throws: VirtqueueError.sizeInvalid(size)) {
            try VirtqueueLayout(untrustedSize: size, descriptors: 0, driver: 1024, device: 2048, in: pool.memory)
        }
    }

    @Test func misalignedOrDistantPartsAreRefused() {
        typealias Parts = (UInt64, UInt64, UInt64)
        let wrong: [(Parts, VirtqueueError)] = [
            ((8, 1024, 2048), .partMisaligned(address: 8)),
            ((0, 1025, 2048), .partMisaligned(address: 1025)),
            ((0, 1024, 2050), .partMisaligned(address: 2050)),
            ((65536 - 112, 1024, 2048), .partOutsideMemory(address: 65536 - 112)),
            ((0, 65536 - 20, 2048), .partOutsideMemory(address: 65536 - 20)),
            ((0, 1024, 65536 - 68), .partOutsideMemory(address: 65536 - 68)),
            ((0, .max - 1, 2048), .partOutsideMemory(address: .max - 1)),
        ]
        for (parts, error) in wrong {
            #expect(throws: error) {
                try VirtqueueLayout(untrustedSize: 8, descriptors: parts.0, driver: parts.1, device: parts.2, in: pool.memory)
            }
        }
        #expect(throws: Never.self) {
            try VirtqueueLayout(untrustedSize: 8, descriptors: 65536 - 128, driver: 1024, device: 2048, in: pool.memory)
        }
    }

    /// Random rings, wholly and mostly wild: every outcome is a chain inside the memory, or an error.
    @Test func wildRingsGiveChainsInsideTheMemoryOrErrors() {
        var random = SeededGenerator(seed: 7)
        for _ in 0..<20_000 {
            for index in 0..<8 as Range<UInt16> {
                let wild = UInt8.random(in: 0..<8, using: &random) == 0
                ring.descriptor(
                    index, wild ? .random(in: 0...UInt64.max, using: &random) : .random(in: 0...4095, using: &random) * 16,
                    wild ? .random(in: 0...UInt32.max, using: &random) : .random(in: 0...8, using: &random) * 16,
                    RawRing.Flags(rawValue: .random(in: 0...7, using: &random)),
                    next: wild ? .random(in: 0...UInt16.max, using: &random) : .random(in: 0...8, using: &random))
            }
            ring.offer((0..<8).map { _ in .random(in: 0...8, using: &random) }, index: .random(in: 0...9, using: &random))
            guard let chains = try? popAll() else { continue }
            for buffer in chains.joined() { #expect(buffer.address + UInt64(buffer.count) <= 65536) }
        }
        #expect(pool.guardIsIntact)
    }
}
