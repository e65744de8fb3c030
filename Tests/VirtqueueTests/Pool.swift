import Testing

@testable import Virtqueue

/// Zeroed memory for a queue and its buffers, with a guard zone behind it that must stay as it is.
final class Pool: @unchecked Sendable {
    let count: Int
    private let start: UnsafeMutableRawPointer
    private static let guardBytes = 4096

    init(count: Int) {
        self.count = count
        start = .allocate(byteCount: count + Self.guardBytes, alignment: 4096)
        start.initializeMemory(as: UInt8.self, repeating: 0, count: count)
        (start + count).initializeMemory(as: UInt8.self, repeating: 0xa5, count: Self.guardBytes)
    }

    deinit { start.deallocate() }

    var memory: PoolMemory { PoolMemory(base: start, count: count) }

    var guardIsIntact: Bool { (0..<Self.guardBytes).allSatisfy { start.load(fromByteOffset: count + $0, as: UInt8.self) == 0xa5 } }

    func store<Value: BitwiseCopyable>(_ value: Value, at offset: UInt64) {
        precondition(memory.store(value, at: offset))
    }

    func load<Value: BitwiseCopyable>(_ type: Value.Type, at offset: UInt64) -> Value { memory.load(at: offset, as: type)! }
}

/// A driver or a device with no manners: writes whatever it likes into a queue's parts.
struct RawRing {
    let pool: Pool
    let layout: VirtqueueLayout

    struct Flags: OptionSet {
        let rawValue: UInt16
        static let next = Flags(rawValue: 1)
        static let write = Flags(rawValue: 2)
        static let indirect = Flags(rawValue: 4)
    }

    func descriptor(_ index: UInt16, _ address: UInt64, _ length: UInt32, _ flags: Flags = [], next: UInt16 = 0, table: UInt64? = nil) {
        let place = (table ?? layout.descriptors) + UInt64(index) * 16
        pool.store(address, at: place)
        pool.store(length, at: place + 8)
        pool.store(flags.rawValue, at: place + 12)
        pool.store(next, at: place + 14)
    }

    /// Makes heads available, from entry 0 on, and sets the index to their count unless told otherwise.
    func offer(_ heads: [UInt16], index: UInt16? = nil) {
        for (position, head) in heads.enumerated() { pool.store(head, at: layout.driver + 4 + UInt64(position) * 2) }
        pool.store(index ?? UInt16(heads.count), at: layout.driver + 2)
    }

    /// Gives chains back, from entry 0 on, and sets the index to their count unless told otherwise.
    func use(_ elements: [(id: UInt32, length: UInt32)], index: UInt16? = nil) {
        for (position, element) in elements.enumerated() {
            pool.store(element.id, at: layout.device + 4 + UInt64(position) * 8)
            pool.store(element.length, at: layout.device + 8 + UInt64(position) * 8)
        }
        pool.store(index ?? UInt16(elements.count), at: layout.device + 2)
    }
}

/// The same numbers for the same seed, so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {  // splitmix64
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// `#expect` for noncopyable values, which the macro cannot take apart.
func check(_ condition: Bool, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(condition, comment, sourceLocation: sourceLocation)
}
