import CLinux
import LinuxSystem
import Testing
import VhostUser
import VirtioNet
import Virtqueue

@testable import NetworkStub

/// Real TAPs, real kernel: needs root. Serialized, as each test has a namespace and a ring of its own.
@Suite(.serialized) struct PacketTests {
    private static let usual: VirtioNetFeatures = [
        .checksum, .guestChecksum, .guestTSO4, .guestTSO6, .hostTSO4, .hostTSO6, .mergeableBuffers,
    ]

    private func header(_ change: (inout VirtioNetHeader) -> Void = { _ in }) -> [UInt8] {
        var header = VirtioNetHeader()
        change(&header)
        return (0..<8).map { UInt8(truncatingIfNeeded: header.low >> UInt64($0 * 8)) }
            + (0..<4).map { UInt8(truncatingIfNeeded: header.high >> UInt32($0 * 8)) }
    }

    /// Turns the device until `done`, for 60 s at most.
    private func turn(_ guest: GuestSide, until done: () throws -> Bool) throws {
        let deadline = Clock.monotonic() + 180_000_000_000
        while try !done(), Clock.monotonic() < deadline { try guest.serve() }
    }

    @Test(arguments: [true, false]) func everyPacketOfTheGuestArrivesOnceInOrderAndWhole(batches: Bool) throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap, batches: batches), features: Self.usual)
            let total: UInt32 = 1000
            var sent: UInt32 = 0
            var expected: UInt32 = 0
            var lengths: [Int] = []
            try turn(guest) {
                while sent < total, sent - expected < 100 {
                    let length = Int.random(in: 60...9014)
                    let packet = header() + Wire.frame(sent, bytes: length, toGuest: false)
                    let cuts = (0..<Int.random(in: 0...5)).map { _ in Int.random(in: 1..<packet.count) }
                    guard try guest.send(packet, cuts: cuts) else { break }
                    lengths.append(length)
                    sent += 1
                }
                try guest.serve()
                while let packet = wire.receive() {
                    try #require(expected < sent)
                    try #require(Array(packet[12...]) == Wire.frame(expected, bytes: lengths[Int(expected)], toGuest: false))
                    expected += 1
                }
                return expected == total
            }
            #expect(expected == total)
            #expect(guest.backend.device.counters.toHostPackets >= UInt64(total))
            #expect(guest.backend.device.counters.dropped == 0)
        }
    }

    @Test(arguments: [true, false]) func everyPacketOfTheHostArrivesOnceInOrderAndWhole(batches: Bool) throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap, batches: batches), features: Self.usual)
            try guest.offer()
            let total: UInt32 = 1000
            var sent: UInt32 = 0
            var expected: UInt32 = 0
            var lengths: [Int] = []
            try turn(guest) {
                while sent < total, sent - expected < 100 {
                    let length = Int.random(in: 60...9014)
                    try wire.send(header() + Wire.frame(sent, bytes: length, toGuest: true))
                    lengths.append(length)
                    sent += 1
                }
                try guest.serve()
                while let packet = try guest.receive() {
                    guard packet.count >= 26, packet[24] == Wire.type[0], packet[25] == Wire.type[1] else { continue }
                    try #require(expected < sent)
                    try #require(Array(packet[12...]) == Wire.frame(expected, bytes: lengths[Int(expected)], toGuest: true))
                    expected += 1
                }
                return expected == total
            }
            #expect(expected == total)
        }
    }

    /// A packet that comes between two reads of one batch is in the later of them.
    @Test func noPacketIsLostWhileTheHostSendsAtItsOwnPace() throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            try guest.offer()
            let total: UInt32 = 20_000
            let sender = wire.sender(total)
            sender.start()
            defer { sender.stop() }
            var expected: UInt32 = 0
            try turn(guest) {
                while let packet = try guest.receive() {
                    guard packet.count >= 30, packet[24] == Wire.type[0], packet[25] == Wire.type[1] else { continue }
                    let number = packet[26..<30].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                    try #require(number == expected, "after \(expected) packets")
                    expected += 1
                    sender.arrived(expected)
                }
                return expected == total || sender.hasFailed
            }
            #expect(expected == total)
            #expect(guest.backend.device.counters.dropped == 0)
        }
    }

    /// While the NIC has no link the guest would throw them away.
    @Test func packetsThatAreNotTakenWaitInTheKernel() throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            try guest.offer()
            guest.backend.device.setTakesPackets(false)
            for number in 0..<50 { try wire.send(header() + Wire.frame(UInt32(number), bytes: 100, toGuest: true)) }
            for _ in 0..<5 { try guest.serve() }
            #expect(guest.backend.device.counters == PacketCounters())
            let isIdle = !guest.backend.device.hasWork && !guest.backend.device.wantsPackets(0, guest.backend.rings)
            #expect(isIdle)
            // The other direction is open.
            #expect(try guest.send(header() + Wire.frame(1, bytes: 100, toGuest: false)))
            try turn(guest) { wire.receive() != nil }
            guest.backend.device.setTakesPackets(true)
            let hasWork = guest.backend.device.hasWork
            #expect(hasWork)
            var numbers: [UInt8] = []
            try turn(guest) {
                while let packet = try guest.receive() { if packet.count >= 30, packet[24] == Wire.type[0] { numbers.append(packet[29]) } }
                return numbers.count >= 50
            }
            #expect(numbers == Array(0..<50))
        }
    }

    @Test func aSegmentedPacketOf64KiBFillsManyBuffersAndComesBackWhole() throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            try tap.setOffloads(guest.backend.device.offloads)
            try guest.offer()
            // IPv4 and TCP headers as far as the kernel looks at them, between the test's stations.
            let payload = 60000
            var frame = Wire.frame(7, bytes: 54 + payload, toGuest: true)
            frame.replaceSubrange(12..<14, with: [0x08, 0x00])
            let length = UInt16(40 + payload)
            frame.replaceSubrange(
                14..<54,
                with: [
                    0x45, 0, UInt8(length >> 8), UInt8(length & 255), 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
                    0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0,
                ])
            var sum = stride(from: 14, to: 34, by: 2).reduce(0) { $0 + Int(frame[$1]) << 8 + Int(frame[$1 + 1]) }
            sum = ~(sum & 0xffff + sum >> 16) & 0xffff
            (frame[24], frame[25]) = (UInt8(sum >> 8), UInt8(sum & 255))
            let segmented = header {
                $0.flags = 1
                $0.segmentation = 1
                $0.headerBytes = 54
                $0.segmentBytes = 1460
                $0.checksumStart = 34
                $0.checksumOffset = 16
            }
            try wire.send(segmented + frame)
            var found: [UInt8]?
            try turn(guest) {
                while let packet = try guest.receive() { if packet.count > 20000 { found = packet } }
                return found != nil
            }
            let packet = try #require(found)
            #expect(packet[1] == 1)
            #expect(Int(packet[10]) == (12 + frame.count + 2047) / 2048)
            #expect(Array(packet[66...]) == Array(frame[54...]))
        }
    }

    @Test func aPacketMayFillItsOnlyBufferAndNoMore() throws {
        try Wire.with { wire, tap in
            let plain: VirtioNetFeatures = [.checksum]
            let guest = try GuestSide(NetworkDevice(tap: tap), features: plain, bufferBytes: 12 + 200)
            try guest.offer()
            for (number, bytes) in [201, 200, 199].enumerated() {
                try wire.send(header() + Wire.frame(UInt32(number), bytes: bytes, toGuest: true))
            }
            var found: [[UInt8]] = []
            try turn(guest) {
                while let packet = try guest.receive() {
                    if packet.count >= 26, packet[24] == Wire.type[0], packet[25] == Wire.type[1] { found.append(packet) }
                }
                return found.count >= 2
            }
            #expect(found.map { Array($0[12...]) } == [Wire.frame(1, bytes: 200, toGuest: true), Wire.frame(2, bytes: 199, toGuest: true)])
            #expect(guest.backend.device.counters.dropped >= 1)
        }
    }

    @Test func headersThatLieAreDroppedAndCountedAndHarmNobody() throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            let frame = Wire.frame(1, bytes: 200, toGuest: false)
            let lies: [[UInt8]] = [
                [], [0], header(), Array(header() + frame)[..<20].map { $0 },
                header {
                    $0.flags = 1
                    $0.checksumStart = 65000
                } + frame,
                header {
                    $0.flags = 1
                    $0.checksumStart = 34
                    $0.segmentation = 1
                } + frame,
                header { $0.segmentation = 0x77 } + frame,
                header { $0.segmentation = 5 } + frame,
            ]
            var dropped: UInt64 = 0
            for lie in lies where !lie.isEmpty {
                #expect(try guest.send(lie))
                dropped += 1
            }
            #expect(try guest.send(header() + frame))
            var found: [UInt8]?
            try turn(guest) {
                while let packet = wire.receive() { found = packet }
                return found != nil
            }
            #expect(found.map { Array($0[12...]) } == frame)
            #expect(guest.backend.device.counters.dropped == dropped)
        }
    }

    @Test func aGuestThatMisusesBuffersLosesItsSession() throws {
        try Wire.with { _, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            _ = try guest.send(header() + Wire.frame(1, bytes: 100, toGuest: false), writable: true)
            #expect(throws: VhostUserError.bufferInvalid(queue: 1, .writable)) { try guest.serve() }
            let other = try GuestSide(NetworkDevice(tap: tap), features: Self.usual, bufferBytes: 12)
            try other.offer(4)
            #expect(throws: VhostUserError.bufferInvalid(queue: 0, .tooSmall)) { try other.serve() }
        }
    }

    @Test func aStoppedQueueHasEveryBufferBack() throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            try guest.offer()
            try wire.send(header() + Wire.frame(1, bytes: 300, toGuest: true))
            try guest.serve()
            let base = try guest.stop(0)
            var back: UInt32 = 0
            while try guest.receiving.popUsed() != nil { back += 1 }
            #expect(back > 0)
            #expect(back == base)
        }
    }

    @Test func floodsAreServedABoundedNumberAtATime() throws {
        try Wire.with { _, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            for number in 0..<256 {
                guard try guest.send(header() + Wire.frame(UInt32(number), bytes: 60, toGuest: false)) else { break }
            }
            try guest.serve()
            #expect(guest.backend.device.counters.toHostPackets + guest.backend.device.counters.dropped <= 256)
        }
    }

    @Test func aRemovedInterfaceEndsTheSession() throws {
        try Wire.with { wire, tap in
            let guest = try GuestSide(NetworkDevice(tap: tap), features: Self.usual)
            try guest.offer()
            try Wire.command("ip", "-n", wire.name, "link", "del", "near0")
            #expect(throws: VhostUserError.system(SystemError(code: EBADFD, call: "readv"))) {
                for _ in 0..<3 { try guest.serve() }
            }
        }
    }

    @Test func severalQueuePairsShareTheInterface() throws {
        try Wire.with(queues: 2) { _, tap in
            let device = try NetworkDevice(tap: tap)
            #expect(device.queuesOffered == 2)
            #expect(VirtioNetFeatures(rawValue: device.features).contains(.multipleQueues))
            try tap.setAttached(1, false)
            try tap.setAttached(1, true)
        }
    }
}
