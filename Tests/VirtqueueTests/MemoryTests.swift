import Testing

@testable import Virtqueue

@Suite struct MemoryTests {
    @Test func poolRefusesEverythingThatIsNotWhollyInside() {
        let pool = Pool(count: 4096)
        let memory = pool.memory
        #expect(memory.translate(0, length: 4096) == memory.base)
        #expect(memory.translate(4096, length: 0) == memory.base + 4096)
        #expect(memory.translate(4095, length: 2) == nil)
        #expect(memory.translate(4097, length: 0) == nil)
        #expect(memory.translate(.max, length: .max) == nil)
        #expect(memory.translate(1, length: .max) == nil)
        #expect(memory.load(at: 4089, as: UInt64.self) == nil)
        #expect(!memory.store(UInt64(1), at: 4089))
        #expect(memory.bytes(at: 0, count: -1) == nil)
        #expect(memory.address(of: memory.base + 4095) == 4095)
        #expect(memory.address(of: memory.base + 4096) == nil)
    }

    @Test func guestMemoryTranslatesEachRegionAndNothingBetween() {
        let low = Pool(count: 4096)
        let high = Pool(count: 8192)
        let memory = GuestMemory(regions: [
            .init(address: 0x1000, base: low.memory.base, count: 4096)!,
            .init(address: 0x1_0000_0000, base: high.memory.base, count: 8192)!,
        ])
        #expect(memory.translate(0x1000, length: 4096) == low.memory.base)
        #expect(memory.translate(0x1_0000_1fff, length: 1) == high.memory.base + 8191)
        #expect(memory.translate(0xfff, length: 1) == nil)
        #expect(memory.translate(0x1fff, length: 2) == nil, "a buffer does not run on from one region to the next")
        #expect(memory.translate(0x2000, length: 0) == nil)
        #expect(memory.translate(0x1_0000_0000, length: .max) == nil)
        #expect(memory.translate(.max, length: .max) == nil)
    }

    @Test func guestRegionPastTheEndOfTheAddressSpaceIsRefused() {
        let pool = Pool(count: 4096)
        #expect(GuestMemory.Region(address: .max - 4094, base: pool.memory.base, count: 4096) == nil)
        #expect(GuestMemory.Region(address: .max - 4095, base: pool.memory.base, count: 4096) != nil)
        #expect(GuestMemory.Region(address: 0, base: pool.memory.base, count: 0) == nil)
    }

    /// The device side on guest-physical addresses, resumed in the middle as vhost-user does it.
    @Test func deviceQueueWorksInGuestMemoryAndResumes() throws {
        let pool = Pool(count: 65536)
        let base: UInt64 = 0x4000_0000
        let guest = GuestMemory(regions: [.init(address: base, base: pool.memory.base, count: 65536)!])
        let local = VirtqueueLayout(size: 4, at: 0)
        let layout = try VirtqueueLayout(
            untrustedSize: 4, descriptors: base + local.descriptors, driver: base + local.driver, device: base + local.device, in: guest)
        var driver = try DriverVirtqueue(local, in: pool.memory, features: [])
        var device = try DeviceVirtqueue(layout, in: guest, features: [])
        var chain = DescriptorChain(capacity: 4)
        for token in 0..<10 as Range<UInt64> {
            let buffers: [2 of DriverBuffer] = [.readable(base + 4096, 4), .writable(base + 8192, 4)]
            check(try driver.add(buffers.span, token: token))
            check(driver.publish())
            pool.store(UInt32(token), at: 4096)
            check(try device.pop(from: guest, into: &chain))
            var bytes: UInt32 = 0
            check(withUnsafeMutableBytes(of: &bytes) { chain.copyReadable(into: $0) } == 4)
            check(withUnsafeBytes(of: &bytes) { chain.copyWritable(from: $0) } == 4)
            device.pushUsed(head: chain.head, length: 4)
            check(device.publishUsed())
            check(try driver.popUsed() == UsedChain(token: token, length: 4))
            #expect(pool.load(UInt32.self, at: 8192) == UInt32(token))
            device = try DeviceVirtqueue(
                layout, in: guest, features: [], availIndex: device.availIndex,
                usedIndex: DeviceVirtqueue.usedIndex(of: layout, in: guest))
        }
    }

    @Test func chainsAreCopiedAcrossTheirSegments() throws {
        let pool = Pool(count: 65536)
        let layout = VirtqueueLayout(size: 8, at: 0)
        var driver = try DriverVirtqueue(layout, in: pool.memory, features: [])
        var device = try DeviceVirtqueue(layout, in: pool.memory, features: [])
        for offset in 0..<16 as Range<UInt64> { pool.store(UInt8(offset), at: 4096 + offset) }
        let buffers: [6 of DriverBuffer] = [
            .readable(4096, 3), .readable(4099, 0), .readable(4099, 13), .writable(8192, 2), .writable(8200, 2), .writable(8210, 0),
        ]
        check(try driver.add(buffers.span, token: 1))
        _ = driver.publish()
        var chain = DescriptorChain(capacity: 8)
        check(try device.pop(from: pool.memory, into: &chain))
        check(chain.readableBytes == 16 && chain.writableBytes == 4 && chain.readableCount == 3)
        var bytes = [UInt8](repeating: 0xff, count: 20)
        check(bytes.withUnsafeMutableBytes { chain.copyReadable(from: 2, into: $0) } == 14)
        #expect(bytes == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] + [UInt8](repeating: 0xff, count: 6))
        check(bytes.withUnsafeBytes { chain.copyWritable(from: $0, at: 1) } == 3)
        #expect([8192, 8193, 8200, 8201, 8202].map { pool.load(UInt8.self, at: $0) } == [0, 2, 3, 4, 0])
        check(chain.storeLastWritableByte(0x77))
        #expect(pool.load(UInt8.self, at: 8201) == 0x77)
    }
}
