import ClientStub
import Foundation
@testable import FrontEnds
import LinuxSystem
import Synchronization
import Testing

/// Clients that lie, stall and vanish. After each of them the server serves the next one.
@Suite(.serialized) struct NBDHostileClientTests {
    /// Proves that a server still works: writes and reads back.
    static func stillServes(_ server: ServerFixture, cookie: UInt64 = 77) throws {
        let client = try RawClient(path: server.path, export: "")
        let data = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ Int(cookie)) }
        try client.send(RawClient.request(1, cookie: cookie, offset: 8192, length: 4096) + data)
        #expect(try client.simpleReply() == (0, cookie))
        try client.send(RawClient.request(0, cookie: cookie + 1, offset: 8192, length: 4096))
        #expect(try client.simpleReply() == (0, cookie + 1))
        #expect(try client.receive(4096) == data)
        try client.send(RawClient.request(2, length: 0))
        #expect(client.isClosed())
    }

    @Test func wrongMagicsEndTheConnection() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let shaking = try RawClient(path: server.path)
        try shaking.send(HandshakeClient.flags(3) + Array(repeating: 0x55, count: 64))
        #expect(shaking.isClosed())
        let talking = try RawClient(path: server.path, export: "")
        try talking.send(Array(repeating: 0x55, count: 4))
        #expect(talking.isClosed())
        try Self.stillServes(server)
    }

    @Test func giantOptionsEndTheConnection() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path)
        var option = Array(HandshakeClient.option(7).prefix(12))
        option.appendBigEndian(UInt32.max)
        try client.send(HandshakeClient.flags(3) + option)
        #expect(client.isClosed())
        try Self.stillServes(server)
    }

    @Test func unknownAndInvalidRequestsGetAnErrorAndTheConnectionLives() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "nvme0n1")
        let cases: [(bytes: [UInt8], error: UInt32)] = [
            (RawClient.request(99, length: 512), 22),
            (RawClient.request(5, length: 512), 22),
            (RawClient.request(7, length: 512), 22),
            (RawClient.request(0, offset: ServerFixture.diskSize, length: 512), 22),
            (RawClient.request(0, offset: UInt64.max - 511, length: 512), 22),
            (RawClient.request(0, offset: 1, length: 512), 22),
            (RawClient.request(0, length: 0), 22),
            (RawClient.request(0, length: 512, flags: 0x8000), 22),
            (RawClient.request(0, length: 33 << 20), 75),
            (RawClient.request(1, offset: ServerFixture.diskSize, length: 512) + Array(repeating: 1, count: 512), 28),
            (RawClient.request(1, length: 33 << 20) + Array(repeating: 2, count: 33 << 20), 75),
            (RawClient.request(6, length: 512, flags: 16), 22),
        ]
        for (number, item) in cases.enumerated() {
            try client.send(item.bytes)
            let reply = try client.simpleReply()
            #expect(reply.error == item.error, "case \(number)")
        }
        try client.send(RawClient.request(0, cookie: 5, length: 512))
        #expect(try client.simpleReply() == (0, 5))
        #expect(try client.receive(512).count == 512)
        #expect(server.state.requests.load(ordering: .relaxed) == 1)
    }

    @Test func structuredErrorsCarryAMessage() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "nvme0n1", structured: true)
        try client.send(RawClient.request(0, cookie: 3, offset: 1, length: 512))
        let header = try client.receive(20)
        #expect(header.span.bigEndian(at: 0, as: UInt32.self) == NBDMagic.structuredReply)
        #expect(header.span.bigEndian(at: 6, as: UInt16.self) == 0x8001)
        let length = Int(header.span.bigEndian(at: 16, as: UInt32.self) ?? 0)
        let chunk = try client.receive(length)
        #expect(chunk.span.bigEndian(at: 0, as: UInt32.self) == 22)
        #expect(chunk.span.text(at: 6, length: length - 6)?.isEmpty == false)
    }

    @Test func aWriteTooLongToSkipEndsTheConnection() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "")
        try client.send(RawClient.request(1, length: .max))
        #expect(client.isClosed())
        try Self.stillServes(server)
    }

    @Test func reusedCookiesAreAnsweredOnceEach() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "")
        var bytes: [UInt8] = []
        for _ in 0..<50 { bytes += RawClient.request(3, cookie: 9, length: 0) }
        try client.send(bytes)
        for _ in 0..<50 { #expect(try client.simpleReply() == (0, 9)) }
        #expect(server.state.flushes.load(ordering: .relaxed) == 50)
    }

    @Test func aClientThatVanishesInMidPayloadLeavesNothingBehind() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        for sent in [0, 1, 4096, 300_000] {
            let client = try RawClient(path: server.path, export: "")
            try client.send(RawClient.request(1, length: 1 << 20) + Array(repeating: 3, count: sent))
            server.eventually("the write's buffer is taken") { server.state.bytesInUse.load(ordering: .relaxed) > 0 }
            client.socket.shutdown()
            server.eventually("the buffer is released") { server.state.bytesInUse.load(ordering: .relaxed) == 0 }
            server.eventually("the client is gone") { server.state.clients.load(ordering: .relaxed) == 0 }
        }
        #expect(server.state.requests.load(ordering: .relaxed) == 0, "a write that did not arrive as a whole never happens")
        try Self.stillServes(server)
    }

    @Test func aClientThatVanishesWithRequestsInFlightIsForgottenWhenTheyEnd() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        server.state.holds.store(true, ordering: .relaxed)
        do {
            let client = try RawClient(path: server.path, export: "")
            var bytes: [UInt8] = []
            for cookie in 0..<40 { bytes += RawClient.request(0, cookie: UInt64(cookie), length: 65536) }
            try client.send(bytes)
            server.eventually("the reads are held") { server.state.bytesInUse.load(ordering: .relaxed) == 40 * 65536 }
        }
        usleep(20_000)
        #expect(server.state.bytesInUse.load(ordering: .relaxed) == 40 * 65536, "the service still has the buffers")
        server.state.holds.store(false, ordering: .relaxed)
        server.eventually("all is released") { server.state.bytesInUse.load(ordering: .relaxed) == 0 }
        server.eventually("the client is gone") { server.state.clients.load(ordering: .relaxed) == 0 }
        try Self.stillServes(server)
    }

    @Test func aSlowReaderHoldsABoundedPartOfThePool() throws {
        var limits = NBDLimits()
        limits.bytesPerClient = 1 << 20
        let server = try ServerFixture(poolBytes: 4 << 20, limits: limits)
        defer { server.stop() }
        let slow = try RawClient(path: server.path, export: "")
        var bytes: [UInt8] = []
        for cookie in 0..<100 { bytes += RawClient.request(0, cookie: UInt64(cookie), length: 262144) }
        try slow.send(bytes)
        for _ in 0..<5 { try Self.stillServes(server) }
        #expect(server.state.mostBytesInUse.load(ordering: .relaxed) <= (1 << 20) + 8192)
        // And it gets everything in the end.
        for _ in 0..<100 {
            #expect(try slow.simpleReply().error == 0)
            #expect(try slow.receive(262144).count == 262144)
        }
    }

    @Test func aStalledClientIsCutOffWhenOthersNeedItsBuffers() throws {
        var limits = NBDLimits()
        limits.bytesPerClient = 2 << 20
        limits.stall = 100_000_000
        let server = try ServerFixture(poolBytes: 1 << 20, limits: limits)
        defer { server.stop() }
        let stalled = try RawClient(path: server.path, export: "")
        try stalled.send(RawClient.request(1, length: 1 << 20) + Array(repeating: 3, count: 1000))
        server.eventually("it holds the whole pool") { server.state.bytesInUse.load(ordering: .relaxed) == 1 << 20 }
        try Self.stillServes(server)
        #expect(stalled.isClosed())
    }

    @Test func manyRequestsAtOnceWaitTheirTurn() throws {
        var limits = NBDLimits()
        limits.requestsPerClient = 8
        let server = try ServerFixture(poolBytes: 64 << 10, limits: limits)
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "")
        var bytes: [UInt8] = []
        for cookie in 0..<500 {
            bytes +=
                RawClient.request(1, cookie: UInt64(cookie), offset: UInt64(cookie) * 4096, length: 4096)
                + Array(repeating: UInt8(cookie & 255), count: 4096)
        }
        try client.send(bytes)
        for _ in 0..<500 { #expect(try client.simpleReply().error == 0) }
        try client.send(RawClient.request(0, offset: 499 * 4096, length: 4096))
        #expect(try client.simpleReply().error == 0)
        #expect(try client.receive(4096) == Array(repeating: UInt8(499 & 255), count: 4096))
    }

    @Test func tooManyClientsAreTurnedAway() throws {
        var limits = NBDLimits()
        limits.clients = 2
        let server = try ServerFixture(limits: limits)
        defer { server.stop() }
        let first = try RawClient(path: server.path, export: "")
        let second = try RawClient(path: server.path, export: "")
        let third = try RawClient(path: server.path)
        #expect(third.isClosed())
        for client in [0, 1] {
            let bytes = RawClient.request(2, length: 0)
            if client == 0 { try first.send(bytes) } else { try second.send(bytes) }
        }
        #expect(first.isClosed() && second.isClosed())
        try Self.stillServes(server)
    }

    @Test func aHandshakeThatNeverEndsIsCutOff() throws {
        var limits = NBDLimits()
        limits.handshake = 50_000_000
        let server = try ServerFixture(limits: limits)
        defer { server.stop() }
        let client = try RawClient(path: server.path)
        try client.send([0, 0, 0])
        #expect(client.isClosed())
    }

    @Test func aHandshakeThatDripsIsCutOffAllTheSame() throws {
        var limits = NBDLimits()
        limits.handshake = 1_200_000_000
        let server = try ServerFixture(limits: limits)
        defer { server.stop() }
        let client = try RawClient(path: server.path)
        _ = try client.receive(18)
        // An option of 100 bytes, one at a time: never silent for long.
        var bytes = HandshakeClient.flags(3) + HandshakeClient.option(3, Array(repeating: 0, count: 100))
        let start = Clock.monotonic()
        while !bytes.isEmpty, Clock.monotonic() - start < 10_000_000_000, (try? client.send([bytes.removeFirst()])) != nil {
            usleep(100_000)
        }
        #expect(!bytes.isEmpty, "the server has closed before the option was whole")
    }

    @Test func aCrowdIsToldOfOnce() throws {
        var limits = NBDLimits()
        limits.clients = 1
        let server = try ServerFixture(limits: limits)
        defer { server.stop() }
        let first = try RawClient(path: server.path, export: "")
        for _ in 0..<3 { #expect(try RawClient(path: server.path).isClosed()) }
        #expect(
            server.state.log.withLock { $0 } == [
                "1 NBD clients are connected to \(server.path): further ones are turned away until one of them goes"
            ])
        withExtendedLifetime(first) {}
    }

    @Test(arguments: [1, 3, 6, 7] as [UInt32]) func whereRequestsWouldFailClientsAreToldSoBeforeTheFirstSession(option: UInt32) throws {
        let server = try ServerFixture()
        defer { server.stop() }
        server.state.exportsKnown.store(false, ordering: .relaxed)
        server.state.handshakePatience.store(0, ordering: .relaxed)
        let client = try RawClient(path: server.path)
        _ = try client.receive(18)
        try client.send(HandshakeClient.flags(3) + HandshakeClient.option(8))
        #expect(try client.optionReply().type == .acknowledge)
        try client.send(HandshakeClient.option(option, option > 3 ? HandshakeClient.info("") : []))
        if option != 1 {
            let reply = try client.optionReply()
            #expect(reply.type == .shutdown)
            #expect(reply.text.contains("its requests fail"))
        }
        #expect(client.isClosed())
        server.state.exportsKnown.store(true, ordering: .relaxed)
        try Self.stillServes(server)
    }

    @Test func whoWaitsForTheFirstSessionIsToldWhenItIsGivenUp() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        server.state.exportsKnown.store(false, ordering: .relaxed)
        let client = try RawClient(path: server.path)
        _ = try client.receive(18)
        try client.send(HandshakeClient.flags(3) + HandshakeClient.option(7, HandshakeClient.info("")))
        usleep(50_000)
        server.state.handshakePatience.store(0, ordering: .relaxed)
        #expect(try client.optionReply().type == .shutdown)
        #expect(client.isClosed())
    }

    @Test func clientsWaitForTheFirstSession() throws {
        let state: ServerFixture
        state = try ServerFixture(exports: [ServerFixture.export("nvme0n1")])
        defer { state.stop() }
        state.state.exportsKnown.store(false, ordering: .relaxed)
        let client = try RawClient(path: state.path)
        try client.send(HandshakeClient.flags(3) + HandshakeClient.option(1))
        _ = try client.receive(18)
        usleep(20_000)
        state.state.exportsKnown.store(true, ordering: .relaxed)
        #expect(try client.receive(10).count == 10)
    }

    @Test func anErrorOfTheDeviceIsAnErrorOfTheRequest() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "")
        server.state.fails.store(true, ordering: .relaxed)
        try client.send(RawClient.request(0, cookie: 4, length: 4096))
        #expect(try client.simpleReply() == (5, 4))
        server.state.fails.store(false, ordering: .relaxed)
        try Self.stillServes(server)
    }

    @Test func longTrimsAndZeroesGoInPiecesAndFUAFlushesAfterThem() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "")
        try client.send(RawClient.request(6, cookie: 1, length: 9 << 20, flags: 1))
        #expect(try client.simpleReply() == (0, 1))
        #expect(server.state.requests.load(ordering: .relaxed) == 6, "five pieces of at most 2 MiB, and a flush")
        #expect(server.state.flushes.load(ordering: .relaxed) == 1)
        try client.send(RawClient.request(4, cookie: 2, length: 9 << 20))
        #expect(try client.simpleReply() == (0, 2))
    }
}
