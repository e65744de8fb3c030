import Virtqueue

// The device's side of a queue against a driver that writes whatever it likes, where it likes, when it likes.
//
//     input   byte 0: queue size (2^(n mod 8)), byte 1: features (bit 0 INDIRECT_DESC, bit 1 EVENT_IDX), bits 2-3: memory;
//             then a program: an operation a byte, with its operands behind it
//
// Every chain that comes out must lie in the memory with the lengths it claims; AddressSanitizer sees the rest, because the
// memory is a heap block of exactly its size.

private let poolBytes = 8192

@c(LLVMFuzzerTestOneInput)
public func fuzzVirtqueueDevice(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var input = unsafe FuzzInput(UnsafeBufferPointer(start: start, count: count))
    let size = UInt16(1) << UInt16(input.byte() & 7)
    let choice = input.byte()
    let features: VirtqueueFeatures = [
        choice & 1 != 0 ? .indirectDescriptors : [], choice & 2 != 0 ? .eventIndex : [],
    ]
    let block = UnsafeMutableRawPointer.allocate(byteCount: poolBytes, alignment: 64)
    defer { unsafe block.deallocate() }
    unsafe block.initializeMemory(as: UInt8.self, repeating: 0, count: poolBytes)
    let pool = unsafe PoolMemory(base: block, count: poolBytes)
    switch choice >> 2 & 3 {
    case 0:
        runProgram(&input, size: size, features: features, base: 0, memory: pool, pool: pool)
    case 1:
        // Guest memory in one region that is not at 0.
        let guest = unsafe GuestMemory(regions: [.init(address: 0x1000, base: block, count: poolBytes)!])
        runProgram(&input, size: size, features: features, base: 0x1000, memory: guest, pool: pool)
    default:
        // Two regions with a gap between them.
        let guest = unsafe GuestMemory(regions: [
            .init(address: 0x1000, base: block, count: 4096)!, .init(address: 0x4000, base: block + 4096, count: 4096)!,
        ])
        runProgram(&input, size: size, features: features, base: 0x1000, memory: guest, pool: pool)
    }
    return 0
}

private func runProgram<Memory: VirtqueueMemory>(
    _ input: inout FuzzInput, size: UInt16, features: VirtqueueFeatures, base: UInt64, memory: Memory, pool: PoolMemory
) {
    let local = VirtqueueLayout(size: size, at: 0)
    var layout: VirtqueueLayout
    do throws(VirtqueueError) {
        if input.byte() & 1 == 0 {
            layout = try VirtqueueLayout(
                untrustedSize: UInt32(size), descriptors: base + local.descriptors, driver: base + local.driver,
                device: base + local.device, in: memory)
        } else {
            layout = try VirtqueueLayout(
                untrustedSize: input.word32(), descriptors: input.word64(), driver: input.word64(), device: input.word64(), in: memory)
        }
    } catch { return }
    guard var device = try? DeviceVirtqueue(layout, in: memory, features: features, availIndex: input.word16()) else { return }
    var chain = DescriptorChain(capacity: 24)
    while !input.isEmpty {
        switch input.byte() & 7 {
        case 0, 1, 2:  // The driver writes 1 to 8 bytes anywhere in the memory.
            let value = input.word64()
            _ = pool.store(value, at: UInt64(input.word16()) % UInt64(poolBytes - 8))
        case 3:  // A well-formed descriptor, so that chains get long.
            let place = local.descriptors + UInt64(input.byte()) % UInt64(size) * 16
            _ = pool.store(UInt64(input.word16()) + base, at: place)
            _ = pool.store(UInt32(input.byte()) * 16, at: place + 8)
            _ = pool.store(UInt16(input.byte() & 7), at: place + 12)
            _ = pool.store(UInt16(input.byte()) % (size + 1), at: place + 14)
        case 4:  // The driver makes the next few heads available.
            let ahead = UInt16(input.byte()) % (size + 2)
            for index in 0..<ahead {
                _ = pool.store(
                    UInt16(input.byte()) % (size + 1), at: local.driver + 4 + UInt64((device.availIndex &+ index) % size) * 2)
            }
            _ = pool.store(device.availIndex &+ ahead, at: local.driver + 2)
        case 5:
            if device.enableNotification() != device.hasAvailable { fatalError("asked twice, two answers") }
            device.disableNotification()
        default:
            do throws(VirtqueueError) {
                while try device.pop(from: memory, into: &chain) {
                    touch(chain, in: memory)
                    device.pushUsed(head: chain.head, length: UInt32(truncatingIfNeeded: chain.writableBytes))
                }
                _ = device.publishUsed()
            } catch { return }  // The session would end here.
        }
    }
}

/// Reads all that may be read, and writes all that may be written.
private func touch<Memory: VirtqueueMemory>(_ chain: borrowing DescriptorChain, in memory: Memory) {
    var readable: UInt64 = 0
    var writable: UInt64 = 0
    for index in 0..<chain.count {
        let segment = chain[index]
        unsafe precondition(memory.translate(segment.address, length: UInt64(segment.count)) == segment.base)
        precondition(segment.isWritable == (index >= chain.readableCount))
        if segment.isWritable { writable += UInt64(segment.count) } else { readable += UInt64(segment.count) }
    }
    precondition(readable == chain.readableBytes && writable == chain.writableBytes)
    unsafe withUnsafeTemporaryAllocation(byteCount: 512, alignment: 16) { buffer in
        let came = unsafe chain.copyReadable(from: readable / 2, into: buffer)
        precondition(came == min(512, Int(readable - readable / 2)))
        let went = unsafe chain.copyWritable(from: UnsafeRawBufferPointer(buffer), at: writable / 2)
        precondition(went == min(512, Int(writable - writable / 2)))
    }
    precondition(chain.storeLastWritableByte(0) == (writable > 0))
}
