import LinuxSystem
import Testing
import Virtqueue

@testable import VhostUser

@Suite struct VsockCredit {
    private func open(_ front: FakeFrontEnd, _ settings: VsockConfiguration? = nil, buffer: UInt32 = 262144) throws -> VsockBackend {
        var backend = try front.backend(settings)
        try front.start(&backend)
        try front.connect(&backend, buffer: buffer)
        return backend
    }

    @Test func theHostSendsNoMoreThanTheGuestHasRoomFor() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front, buffer: 100)
        let message = [UInt8]((0..<250).map { UInt8($0) })
        #expect(try backend.send(message))
        try backend.flush()
        var packets = try front.packets()
        #expect(packets.flatMap(\.payload) == Array(message[..<100]))
        #expect(packets.last?.header.operation == VsockHeader.Operation.creditRequest.rawValue)
        try backend.flush()
        #expect(try front.packets().isEmpty, "asks once")

        try front.transmit(front.header(.creditUpdate, buffer: 100, forward: 60))
        try backend.handleKick(queue: 1)
        try backend.flush()
        packets = try front.packets()
        #expect(packets.flatMap(\.payload) == Array(message[100..<160]))

        // A buffer that shrinks below what is under way is no lie, but there is no credit.
        try front.transmit(front.header(.creditUpdate, buffer: 10, forward: 100))
        try backend.handleKick(queue: 1)
        try backend.flush()
        #expect(try front.packets().flatMap(\.payload).isEmpty)

        try front.transmit(front.header(.creditUpdate, buffer: 4096, forward: 160))
        try backend.handleKick(queue: 1)
        try backend.flush()
        #expect(try front.packets().flatMap(\.payload) == Array(message[160...]))
    }

    @Test func aFullBacklogRefusesAndSaysWhenThereIsRoomAgain() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front, VsockConfiguration(guestCID: 42, backlogCapacity: 1000), buffer: 0)
        for _ in 0..<10 { #expect(try backend.send([UInt8](repeating: 1, count: 100))) }
        #expect(try !backend.send([1]))
        #expect(backend.allEvents().isEmpty)
        try front.transmit(front.header(.creditUpdate, buffer: 400))
        try backend.handleKick(queue: 1)
        #expect(backend.allEvents().isEmpty)
        try front.transmit(front.header(.creditUpdate, buffer: 2000))
        try backend.handleKick(queue: 1)
        #expect(backend.allEvents() == [.writable])
        try backend.flush()
        #expect(try front.packets().flatMap(\.payload).count == 1000)
        #expect(try backend.send([1]))
    }

    @Test func withoutGuestBuffersBytesWaitForAKickOfRx() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.start(&backend, buffers: 1)
        try front.transmit(front.header(.request))
        try backend.handleKick(queue: 1)
        #expect(try backend.send([1, 2, 3]))
        #expect(try backend.send([4]))
        try backend.flush()
        #expect(try front.packets(keep: true).map(\.header.operation) == [VsockHeader.Operation.response.rawValue])
        _ = try front.rx.add([DriverBuffer.writable(FakeFrontEnd.rxAddress(0), 46)].span, token: 0)
        let wantsKick = front.rx.publish()
        #expect(wantsKick, "the device has asked for a kick")
        try backend.handleKick(queue: 0)
        try backend.flush()
        #expect(try front.packets(keep: true).flatMap(\.payload) == [1, 2], "as much as one buffer holds")
        try front.giveBuffers(3)
        try backend.handleKick(queue: 0)
        try backend.flush()
        #expect(try front.packets().flatMap(\.payload) == [3, 4])
    }

    @Test func consumingGivesTheGuestCreditAgain() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front, VsockConfiguration(guestCID: 42, receiveCapacity: 1000))
        let part = [UInt8](repeating: 3, count: 300)
        for _ in 0..<3 {
            try front.transmit(front.header(.data, length: 300), part)
            try backend.handleKick(queue: 1)
        }
        try backend.flush()
        #expect(try front.packets().isEmpty, "nothing was consumed")
        #expect(backend.take(700).count == 700)
        try backend.flush()
        let updates = try front.packets().map(\.header)
        #expect(updates.map(\.operation) == [VsockHeader.Operation.creditUpdate.rawValue])
        #expect(updates.first?.forwardCount == 700 && updates.first?.bufferSize == 1000)
        try front.transmit(front.header(.creditRequest))
        try backend.handleKick(queue: 1)
        try backend.flush()
        #expect(try front.packets().map(\.header.operation) == [VsockHeader.Operation.creditUpdate.rawValue])
        #expect(backend.take().count == 200)
    }

    @Test func aGuestThatSendsWithoutCreditEndsTheSession() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front, VsockConfiguration(guestCID: 42, receiveCapacity: 1000))
        for _ in 0..<2 { try front.transmit(front.header(.data, length: 500), [UInt8](repeating: 0, count: 500)) }
        try backend.handleKick(queue: 1)
        try front.transmit(front.header(.data, length: 1), [0])
        #expect(failure { try backend.handleKick(queue: 1) } == .packet(.creditExceeded(bytes: 1)))
    }

    @Test func aGuestThatHasReadWhatWasNeverSentEndsTheSession() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        #expect(try backend.send([1, 2, 3]))
        try front.transmit(front.header(.creditUpdate, forward: 3))
        try backend.handleKick(queue: 1)
        try front.transmit(front.header(.creditUpdate, forward: 2))
        try backend.handleKick(queue: 1)  // An older count may be overtaken.
        try front.transmit(front.header(.creditUpdate, forward: 4))
        #expect(failure { try backend.handleKick(queue: 1) } == .packet(.forwardCountInvalid(4)))
    }

    // MARK: packets that no driver sends

    static let hostile: [(String, @Sendable (FakeFrontEnd) throws -> Void, VhostUserError)] = [
        (
            "no header", { try $0.transmit([.readable(FakeFrontEnd.bufferStart, 43)]) }, .packet(.headerIncomplete(bytes: 43))
        ),
        ("empty", { try $0.transmit([.readable(FakeFrontEnd.bufferStart, 0)]) }, .packet(.headerIncomplete(bytes: 0))),
        (
            "writable",
            { try $0.transmit([.readable(FakeFrontEnd.bufferStart, 44), .writable(FakeFrontEnd.bufferStart + 4096, 8)]) },
            .packet(.transmitBufferWritable)
        ),
        ("longer than it is", { try $0.transmit($0.header(.data, length: 5), [1, 2, 3, 4]) }, .packet(.lengthInvalid(5))),
        ("longer than any", { try $0.transmit($0.header(.data, length: 65537), []) }, .packet(.lengthInvalid(65537))),
        ("payload of a request", { try $0.transmit($0.header(.creditUpdate, length: 1), [1]) }, .packet(.lengthInvalid(1))),
        (
            "another guest's",
            {
                var header = $0.header(.data)
                header.sourceCID = 43
                try $0.transmit(header)
            }, .packet(.sourceInvalid(cid: 43))
        ),
        (
            "no operation",
            {
                var header = $0.header(.data)
                header.operation = 0
                try $0.transmit(header)
            }, .packet(.operationInvalid(0))
        ),
        ("an answer to nothing", { try $0.transmit($0.header(.response)) }, .packet(.responseUnexpected)),
        ("odd shutdown", { try $0.transmit($0.header(.shutdown, flags: 4)) }, .packet(.shutdownFlagsInvalid(4))),
        (
            "outside memory", { try $0.transmit([.readable(1 << 40, 44)]) },
            .virtqueue(queue: 1, .bufferOutsideMemory(address: 1 << 40, length: 44))
        ),
        (
            "out of its region", { try $0.transmit([.readable(FakeFrontEnd.regionSize - 4, 44)]) },
            .virtqueue(queue: 1, .bufferOutsideMemory(address: FakeFrontEnd.regionSize - 4, length: 44))
        ),
    ]

    @Test(arguments: hostile.indices) func aHostilePacketEndsTheSession(index: Int) throws {
        let (name, transmit, expected) = Self.hostile[index]
        let front = try FakeFrontEnd()
        var backend = try open(front)
        try transmit(front)
        #expect(failure { try backend.handleKick(queue: 1) } == expected, "\(name)")
    }

    @Test func anRxBufferThatIsNoneEndsTheSession() throws {
        for (buffer, bytes) in [
            (DriverBuffer.writable(FakeFrontEnd.rxAddress(0), 44), UInt64(44)), (.readable(FakeFrontEnd.rxAddress(0), 4096), 0),
        ] {
            let front = try FakeFrontEnd()
            var backend = try front.backend()
            try front.start(&backend, buffers: 0)
            _ = try front.rx.add([buffer].span, token: 0)
            _ = front.rx.publish()
            try front.transmit(front.header(.request))
            #expect(failure { try backend.handleKick(queue: 1) } == .packet(.receiveBufferInvalid(bytes: bytes)))
        }
    }

    @Test func packetsOfRandomBytesNeverDoMoreThanEndTheSession() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<50 {
            let front = try FakeFrontEnd()
            var backend = try open(front)
            let error = failure {
                for _ in 0..<200 {
                    var header = front.header(VsockHeader.Operation(rawValue: .random(in: 1...7, using: &random))!)
                    if Int.random(in: 0..<4, using: &random) == 0 { header.sourcePort = .random(in: 998...1002, using: &random) }
                    header.flags = header.operation == 4 ? .random(in: 0...3, using: &random) : 0
                    header.length = header.operation == 5 ? .random(in: 0...64, using: &random) : 0
                    header.bufferSize = .random(in: 0...300, using: &random)
                    try front.transmit(header, [UInt8](repeating: 0, count: Int(header.length)))
                    try backend.handleKick(queue: 1)
                    _ = backend.take(.random(in: 0...100, using: &random))
                    _ = try backend.send([UInt8](repeating: 1, count: .random(in: 0...100, using: &random)))
                    _ = backend.allEvents()
                    try backend.flush()
                    _ = try front.packets()
                }
            }
            switch error {
            case nil, .packet: break
            default: Issue.record("\(String(describing: error))")
            }
        }
    }
}
