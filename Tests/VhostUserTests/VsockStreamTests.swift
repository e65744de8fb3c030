import CLinux
import LinuxSystem
import Testing
import Virtqueue

@testable import VhostUser

@Suite struct VsockStreams {
    /// A started device with an open stream.
    private func open(_ front: FakeFrontEnd, _ settings: VsockConfiguration? = nil, buffer: UInt32 = 262144) throws -> VsockBackend {
        var backend = try front.backend(settings)
        try front.start(&backend)
        try front.connect(&backend, buffer: buffer)
        return backend
    }

    @Test func startingTellsTheOwnerOfMemoryAndKicks() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        #expect(backend.kickDescriptor(queue: 1) == nil)
        try front.sendMemoryTable()
        try front.send(2, bytes(UInt64(1 << 32)))
        try front.sendRing(1, front.txLayout)
        try backend.handleSocketReadable()
        #expect(backend.allEvents() == [.memoryMapped, .kickChanged(queue: 1)])
        #expect(backend.kickDescriptor(queue: 1) != nil)
    }

    @Test func bytesGoBothWays() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        for round in 0..<300 {
            let ping = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 1 + round % 64)
            try front.transmit(front.header(.data, length: ping.count, forward: UInt32(round * 3)), ping)
            try backend.handleKick(queue: 1)
            #expect(backend.allEvents() == [.received])
            #expect(backend.take() == ping)
            #expect(try backend.send([1, 2, UInt8(truncatingIfNeeded: round)]))
            try backend.flush()
            let packets = try front.packets()
            #expect(packets.map(\.payload) == [[1, 2, UInt8(truncatingIfNeeded: round)]])
            #expect(packets.first?.header.operation == VsockHeader.Operation.data.rawValue)
        }
    }

    @Test(arguments: [[44], [], [1, 2, 44], [20], [40, 50], [44, 44, 47]]) func aPacketMayBeCutIntoBuffersAnywhere(cuts: [Int]) throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        let payload: [UInt8] = Array(0..<100)
        try front.transmit(front.header(.data, length: 100), payload, cuts: cuts)
        try backend.handleKick(queue: 1)
        #expect(backend.take() == payload)
    }

    @Test func theGuestIsCalledOnlyWhenItAsks() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        front.calls[0].counter.drain()
        _ = front.rx.enableNotification()
        #expect(try backend.send([1]))
        #expect(front.calls[0].counter.drain() == 0, "not before the flush")
        #expect(try backend.send([2]))
        try backend.flush()
        #expect(front.calls[0].counter.drain() == 1, "once for both")
        #expect(try backend.send([3]))
        try backend.flush()
        #expect(front.calls[0].counter.drain() == 0, "the guest has not asked again")
        #expect(try front.packets().map(\.payload) == [[1], [2], [3]])
    }

    @Test func whatTheGuestSentIsGivenBackInBatches() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        var most: UInt16 = 0
        for _ in 0..<500 {
            try front.transmit(front.header(.data, length: 1), [7])
            most = max(most, front.tx.inFlight)
            try backend.handleKick(queue: 1)
            _ = backend.take()
            try backend.flush()
        }
        #expect(most > 4 && most < 40, "\(most)")
    }

    // MARK: who may connect

    @Test func everyoneElseGetsAReset() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        var others: [VsockHeader] = []
        others.append(front.header(.request, port: 1001))  // a second stream
        others.append(front.header(.data, port: 1002))  // a stream that is not open
        for change in [
            { (header: inout VsockHeader) in header.destinationPort = 99 }, { $0.destinationCID = 7 }, { $0.type = 2 },
            {
                $0.type = 99
                $0.operation = 99
            },
        ] {
            var header = front.header(.request, port: 1003)
            change(&header)
            others.append(header)
        }
        for header in others {
            try front.transmit(header)
            try backend.handleKick(queue: 1)
            try backend.flush()
            let answers = try front.packets().map(\.header)
            #expect(answers.count == 1)
            let answer = try #require(answers.first)
            #expect(answer.operation == VsockHeader.Operation.reset.rawValue && answer.type == header.type)
            #expect(answer.destinationPort == header.sourcePort && answer.sourcePort == header.destinationPort)
            #expect(answer.destinationCID == header.sourceCID && answer.sourceCID == header.destinationCID)
        }
        #expect(backend.isConnected == true)
        try front.transmit(front.header(.reset, port: 1004))
        try backend.handleKick(queue: 1)
        try backend.flush()
        #expect(try front.packets().isEmpty, "a reset is not answered")
    }

    @Test func aFloodOfRefusedPacketsWaitsInTheGuestsOwnRing() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        try front.start(&backend, buffers: 0)
        for _ in 0..<100 { try front.transmit([.readable(strangerAddress(front), 44)]) }
        try backend.handleKick(queue: 1)
        try backend.flush()
        let taken = try front.tx.popUsed()
        #expect(taken != nil, "some were taken")
        var given = 0
        var resets = 0
        while given < 100 {
            try front.giveBuffers(10, from: given % 60)
            given += 10
            try backend.handleKick(queue: 0)
            try backend.flush()
            resets += try front.packets(keep: true).count
        }
        #expect(resets == 100)
    }

    private func strangerAddress(_ front: FakeFrontEnd) -> UInt64 {
        let header = front.header(.data, port: 5)
        header.store(to: UnsafeMutableRawBufferPointer(start: front.memory.translate(FakeFrontEnd.bufferStart, length: 44)!, count: 44))
        return FakeFrontEnd.bufferStart
    }

    // MARK: how a stream ends

    @Test func aStreamEndsByShutdownOrResetAndAnotherMayCome() throws {
        let ends: [(VsockHeader.Operation, VsockClosure, Int)] = [
            (.shutdown, .shutDown, 1), (.reset, .reset, 0), (.request, .reset, 1),
        ]
        let front = try FakeFrontEnd()
        var backend = try open(front)
        for (operation, closure, answers) in ends {
            try front.transmit(front.header(.data, length: 2), [5, 6])
            try front.transmit(front.header(operation, flags: operation == .shutdown ? 3 : 0))
            try front.transmit(front.header(.request, port: 1000))
            try backend.handleKick(queue: 1)
            try backend.flush()
            #expect(backend.take() == [5, 6], "what came before the end can still be read")
            #expect(backend.allEvents() == [.received, .closed(closure)])
            #expect(backend.isConnected == false)
            #expect(try !backend.send([1]))
            #expect(try front.packets().count == answers + 1, "the next stream waits until the end was noticed")
            try front.connect(&backend)
        }
    }

    @Test func theOwnersResetReachesTheGuest() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        backend.reset()
        try backend.flush()
        #expect(try front.packets().map(\.header.operation) == [VsockHeader.Operation.reset.rawValue])
        #expect(backend.allEvents().isEmpty)
        #expect(backend.isConnected == false)
    }

    @Test func aStoppedDeviceClosesTheStreamAndResumesWhereItWas() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        for queue in [UInt32(0), 1] { try front.send(11, bytes(queue) + bytes(UInt32(0))) }
        try backend.handleSocketReadable()
        #expect(backend.allEvents() == [.kickChanged(queue: 0), .kickChanged(queue: 1), .closed(.deviceStopped)])
        let bases = [try #require(try front.reply()), try #require(try front.reply())]
        #expect(number(bases[1], 0, 4) == 1 && number(bases[1], 4, 4) == 1, "one packet was taken from tx")
        #expect(backend.kickDescriptor(queue: 0) == nil)
        try front.transmit(front.header(.request))
        try backend.handleKick(queue: 1)
        #expect(backend.isConnected == false, "a stopped ring is not looked at")
        try front.sendRing(0, front.rxLayout, base: UInt32(number(bases[0], 4, 4)))
        try front.sendRing(1, front.txLayout, base: UInt32(number(bases[1], 4, 4)))
        try backend.handleSocketReadable()
        try backend.handleKick(queue: 1)
        try backend.flush()
        #expect(backend.isConnected == true)
        #expect(try front.packets().map(\.header.operation) == [VsockHeader.Operation.response.rawValue])
    }

    @Test func aDisabledRingIsLeftAlone() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        try front.send(18, bytes(UInt32(1)) + bytes(UInt32(0)))
        try backend.handleSocketReadable()
        try front.transmit(front.header(.data, length: 1), [9])
        try backend.handleKick(queue: 1)
        #expect(backend.take().isEmpty)
        try front.send(18, bytes(UInt32(1)) + bytes(UInt32(1)))
        try backend.handleSocketReadable()
        #expect(front.kicks[1].counter.drain() > 0, "enabling kicks: the guest will not do it again")
        try backend.handleKick(queue: 1)
        #expect(backend.take() == [9])
    }

    // MARK: memory under a running device

    @Test func aNewMemoryTableInMidFlightMovesTheRings() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        for round in 0..<20 {
            try front.transmit(front.header(.data, length: 1), [UInt8(round)])
            try front.sendMemoryTable(round % 2 == 0 ? FakeFrontEnd.regions.reversed() : FakeFrontEnd.regions)
            try backend.handleSocketReadable()
            try backend.handleKick(queue: 1)
            #expect(backend.take() == [UInt8(round)])
            #expect(try backend.send([UInt8(round)]))
            try backend.flush()
            #expect(try front.packets().map(\.payload) == [[UInt8(round)]])
        }
    }

    @Test func aNewMemoryTableWithoutTheRingsEndsTheSession() throws {
        let front = try FakeFrontEnd()
        var backend = try open(front)
        try front.sendMemoryTable([FakeFrontEnd.regions[1]])
        #expect(failure { try backend.handleSocketReadable() } == .ringOutsideMemory(queue: 0))
    }

    @Test func extentsAreMappedSideBySideAndOutliveTheBackend() throws {
        let front = try FakeFrontEnd()
        front.memory.translate(0xf0000, length: 8)!.storeBytes(of: 0x1111, as: UInt64.self)
        front.memory.translate(0x4f0000, length: 8)!.storeBytes(of: 0x2222, as: UInt64.self)
        func map() throws -> PoolMapping {
            var backend = try front.backend()
            try front.start(&backend)
            #expect(backend.resolve(GuestExtent(address: 0x4f0000, length: 4096))?.offset == 0x1f0000)
            #expect(backend.resolve(GuestExtent(address: 0xff000, length: 8192)) == nil)
            return try backend.mapContiguous([GuestExtent(address: 0x4f0000, length: 8192), GuestExtent(address: 0xf0000, length: 4096)])
        }
        let pool = try map()
        #expect(pool.count == 12288)
        #expect(UInt(bitPattern: pool.baseAddress) % (2 << 20) == 0)
        #expect(pool.memory.load(at: 0, as: UInt64.self) == 0x2222)
        #expect(pool.memory.load(at: 8192, as: UInt64.self) == 0x1111)
        front.memory.translate(0xf0000, length: 8)!.storeBytes(of: 0x3333, as: UInt64.self)
        #expect(pool.memory.load(at: 8192, as: UInt64.self) == 0x3333)
    }

    @Test func extentsThatCannotBeAreRefused() throws {
        let front = try FakeFrontEnd()
        var backend = try front.backend()
        let fine = GuestExtent(address: 0, length: 4096)
        #expect(failure { _ = try backend.mapContiguous([fine]) } == .extentInvalid(fine), "no memory yet")
        try front.start(&backend)
        for bad in [
            GuestExtent(address: 0, length: 0), GuestExtent(address: 1, length: 4096), GuestExtent(address: 4096, length: 100),
            GuestExtent(address: 0xff000, length: 8192), GuestExtent(address: 1 << 40, length: 4096),
            GuestExtent(address: .max - 4095, length: 4096), GuestExtent(address: 4096, length: .max - 4095), fine,
        ] {
            #expect(failure { _ = try backend.mapContiguous([fine, bad]) } == .extentInvalid(bad))
        }
    }
}
