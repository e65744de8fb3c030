import Testing

@testable import Virtqueue

/// A driver and a device on one memory, in every order.
@Suite struct InterleavingTests {
    struct Setting: CustomTestStringConvertible, Sendable {
        var size: UInt16
        var features: VirtqueueFeatures
        var indirectEntries: UInt16
        var steps: Int
        var testDescription: String { "size \(size), features \(String(features.rawValue, radix: 16)), indirect \(indirectEntries)" }
    }

    static let settings: [Setting] = [
        Setting(size: 1, features: [], indirectEntries: 0, steps: 20_000),
        Setting(size: 2, features: [.eventIndex], indirectEntries: 0, steps: 20_000),
        Setting(size: 8, features: [.eventIndex, .indirectDescriptors], indirectEntries: 4, steps: 800_000),
        Setting(size: 8, features: [.indirectDescriptors], indirectEntries: 2, steps: 50_000),
        Setting(size: 64, features: [.eventIndex], indirectEntries: 0, steps: 800_000),
        Setting(size: 256, features: [], indirectEntries: 8, steps: 50_000),
        Setting(size: 32768, features: [.eventIndex, .indirectDescriptors], indirectEntries: 3, steps: 50_000),
    ]

    /// A chain as it must arrive.
    struct Expected {
        var token: UInt64
        var buffers: [DriverBuffer]
        var writable: UInt32
    }

    /// Every chain arrives whole and in order, and comes back once, with its token and length; the indexes wrap around
    /// (800,000 steps are more than 65536 chains).
    @Test(arguments: settings)
    func chainsArriveInOrderAndComeBackOnce(setting: Setting) throws {
        var random = SeededGenerator(seed: UInt64(setting.size) &* 31 &+ setting.features.rawValue)
        let ringBytes = VirtqueueLayout.byteCount(size: setting.size, indirectEntries: setting.indirectEntries)
        let pool = Pool(count: Int(ringBytes) + 65536)
        let memory = pool.memory
        let layout = VirtqueueLayout(size: setting.size, at: 0, indirectEntries: setting.indirectEntries)
        var driver = try DriverVirtqueue(layout, in: memory, features: setting.features)
        var device = try DeviceVirtqueue(layout, in: memory, features: setting.features)
        var chain = DescriptorChain(capacity: 16)

        var token: UInt64 = 0
        var unpublished: [Expected] = []
        var offered: [Expected] = []  // published, in order
        var taken: [(head: UInt16, expected: Expected)] = []
        var unpublishedUsed: [(token: UInt64, length: UInt32)] = []
        var returned: [(token: UInt64, length: UInt32)] = []
        var arrived = 0

        for _ in 0..<setting.steps {
            switch UInt8.random(in: 0..<16, using: &random) {
            case 0..<5:
                let expected = Self.randomChain(token: token, ringBytes: ringBytes, using: &random)
                if expected.buffers.count > Int(max(setting.size, setting.indirectEntries)) { continue }
                if try driver.add(expected.buffers.span, token: token) {
                    unpublished.append(expected)
                    token += 1
                }
            case 5..<8:
                _ = driver.publish()
                offered += unpublished
                unpublished.removeAll()
            case 8..<11:
                check(device.hasAvailable == !offered.isEmpty)
                if try device.pop(from: memory, into: &chain) {
                    let expected = offered.removeFirst()
                    Self.expect(chain, matches: expected)
                    taken.append((chain.head, expected))
                } else {
                    #expect(offered.isEmpty)
                }
            case 11..<13:
                guard !taken.isEmpty else { continue }
                let (head, expected) = taken.remove(at: Int.random(in: 0..<taken.count, using: &random))
                let length = expected.writable == 0 ? 0 : UInt32.random(in: 0...expected.writable, using: &random)
                device.pushUsed(head: head, length: length)
                unpublishedUsed.append((expected.token, length))
            case 13:
                _ = device.publishUsed()
                returned += unpublishedUsed
                unpublishedUsed.removeAll()
            default:
                check(driver.hasUsed == !returned.isEmpty)
                if let used = try driver.popUsed() {
                    let expected = returned.removeFirst()
                    #expect(used.token == expected.token && used.length == expected.length)
                    arrived += 1
                } else {
                    #expect(returned.isEmpty)
                }
            }
            check(Int(driver.inFlight) == unpublished.count + offered.count + taken.count + unpublishedUsed.count + returned.count)
        }
        #expect(arrived > (setting.steps == 800_000 ? 65536 : setting.steps / 100))
        #expect(pool.guardIsIntact)

        // Everything that is still under way comes back, and every descriptor is free in the end.
        _ = driver.publish()
        while try device.pop(from: memory, into: &chain) { device.pushUsed(head: chain.head, length: 0) }
        for (head, _) in taken { device.pushUsed(head: head, length: 0) }
        _ = device.publishUsed()
        while try driver.popUsed() != nil {}
        check(driver.inFlight == 0 && driver.freeDescriptors == setting.size)
    }

    private static func randomChain(token: UInt64, ringBytes: UInt64, using random: inout SeededGenerator) -> Expected {
        let readable = Int.random(in: 0...3, using: &random)
        let writable = Int.random(in: (readable == 0 ? 1 : 0)...3, using: &random)
        var buffers: [DriverBuffer] = []
        var room: UInt32 = 0
        for index in 0..<(readable + writable) {
            let length = UInt32.random(in: 0...4096, using: &random)
            let address = ringBytes + UInt64.random(in: 0...(65536 - UInt64(length)), using: &random)
            buffers.append(DriverBuffer(address: address, count: length, isWritable: index >= readable))
            if index >= readable { room += length }
        }
        return Expected(token: token, buffers: buffers, writable: room)
    }

    private static func expect(_ chain: borrowing DescriptorChain, matches expected: Expected) {
        var same = chain.count == expected.buffers.count && chain.writableBytes == UInt64(expected.writable)
        for (index, buffer) in expected.buffers.enumerated() where same {
            let segment = chain[index]
            same = segment.address == buffer.address && segment.count == buffer.count && segment.isWritable == buffer.isWritable
        }
        #expect(same)
    }
}
