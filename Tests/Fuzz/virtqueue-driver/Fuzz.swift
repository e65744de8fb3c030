import Virtqueue

// The driver's side of a queue against a device that writes whatever it likes, where it likes, when it likes.
//
//     input   byte 0: queue size (2^(n mod 8)), byte 1: features (bit 0 INDIRECT_DESC, bit 1 EVENT_IDX), byte 2: indirect entries;
//             then a program: an operation a byte, with its operands behind it
//
// A model of what is in flight runs alongside: each chain comes back at most once, with its own token and no more bytes than it
// has room for, and descriptors are neither lost nor made up.

private let poolBytes = 16384

@c(LLVMFuzzerTestOneInput)
public func fuzzVirtqueueDriver(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var input = unsafe FuzzInput(UnsafeBufferPointer(start: start, count: count))
    let size = UInt16(1) << UInt16(input.byte() & 7)
    let choice = input.byte()
    let features: VirtqueueFeatures = [
        choice & 1 != 0 ? .indirectDescriptors : [], choice & 2 != 0 ? .eventIndex : [],
    ]
    let layout = VirtqueueLayout(size: size, at: 0, indirectEntries: UInt16(input.byte() & 3))
    let block = UnsafeMutableRawPointer.allocate(byteCount: poolBytes, alignment: 64)
    defer { unsafe block.deallocate() }
    unsafe block.initializeMemory(as: UInt8.self, repeating: 0xff, count: poolBytes)
    let pool = unsafe PoolMemory(base: block, count: poolBytes)
    guard var driver = try? DriverVirtqueue(layout, in: pool, features: features) else { return 0 }
    var model = Model(size: size)
    while !input.isEmpty {
        switch input.byte() & 7 {
        case 0:  // The device writes 8 bytes anywhere in the memory.
            let value = input.word64()
            _ = pool.store(value, at: UInt64(input.word16()) % UInt64(poolBytes - 8))
        case 1:  // The device writes a used element that may be right, and moves the index, by one or anyhow.
            let place = model.usedIndex % size
            let shape = input.byte()
            _ = pool.store(UInt32(input.byte()) % UInt32(size + 1), at: layout.device + 4 + UInt64(place) * 8)
            _ = pool.store(UInt32(input.byte()), at: layout.device + 8 + UInt64(place) * 8)
            _ = pool.store(shape < 224 ? model.usedIndex &+ 1 : input.word16(), at: layout.device + 2)
        case 2:
            _ = driver.publish()
        case 3:
            _ = driver.enableNotification(after: UInt16(input.byte()))
            driver.disableNotification()
        case 4, 5:
            model.add(&input, to: &driver)
        default:
            do throws(VirtqueueError) {
                while let used = try driver.popUsed() { model.remove(used) }
            } catch { return 0 }  // The session would end here.
        }
        precondition(Int(driver.inFlight) == model.inFlight.count)
        precondition(Int(driver.freeDescriptors) <= Int(size) && (driver.freeDescriptors == size) == model.inFlight.isEmpty)
    }
    return 0
}

private struct Model {
    let size: UInt16
    /// token → room for the device to write
    var inFlight: [UInt64: UInt32] = [:]
    var usedIndex: UInt16 = 0
    private var nextToken: UInt64 = 0

    init(size: UInt16) { self.size = size }

    mutating func add(_ input: inout FuzzInput, to driver: inout DriverVirtqueue) {
        let readable = Int(input.byte() & 3)
        let writable = Int(input.byte() & 3)
        var buffers = [DriverBuffer](repeating: .readable(0, 16), count: readable)
        var room: UInt32 = 0
        for _ in 0..<writable {
            let length = UInt32(input.byte())
            buffers.append(.writable(UInt64(input.word16()), length))
            room += length
        }
        do throws(VirtqueueError) {
            if try driver.add(buffers.span, token: nextToken) {
                inFlight[nextToken] = room
                nextToken += 1
            }
        } catch {
            precondition(buffers.isEmpty || buffers.count > Int(size))
        }
    }

    mutating func remove(_ used: UsedChain) {
        guard let room = inFlight.removeValue(forKey: used.token) else { fatalError("a chain came back that was not in flight") }
        precondition(used.length <= room)
        usedIndex &+= 1
    }
}
