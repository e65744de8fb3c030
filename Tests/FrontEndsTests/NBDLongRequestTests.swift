import ClientStub
import Foundation
@testable import FrontEnds
import LinuxSystem
import Synchronization
import Testing

/// Requests that are longer than the disk takes at once: clients that ask for no limits send up to 32 MiB.
@Suite(.serialized) struct NBDLongRequestTests {
    private static func pattern(_ count: Int, seed: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 >> 9) &* 31 &+ $0 &+ seed) }
    }

    @Test(arguments: [false, true]) func aWriteAndAReadOf32MiBGoThroughASmallPool(structured: Bool) throws {
        let server = try ServerFixture(poolBytes: 1 << 20)
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "", structured: structured)
        let data = Self.pattern(32 << 20, seed: 5)
        try client.send(RawClient.request(1, cookie: 1, offset: 4096, length: 32 << 20, flags: 1) + data)
        #expect(try client.simpleReply() == (0, 1))
        #expect(server.state.flushes.load(ordering: .relaxed) == 1, "one flush after all pieces")
        try client.send(RawClient.request(0, cookie: 2, offset: 4096, length: 32 << 20))
        if structured { #expect(try client.receive(28).count == 28) } else { #expect(try client.simpleReply() == (0, 2)) }
        #expect(try client.receive(32 << 20) == data)
        #expect(server.state.largestRequest.load(ordering: .relaxed) == 1 << 20)
        #expect(server.state.mostBytesInUse.load(ordering: .relaxed) <= 1 << 20)
        try NBDHostileClientTests.stillServes(server)
    }

    @Test func manyLongRequestsShareABoundedMemory() throws {
        var limits = NBDLimits()
        limits.longBytes = 4 << 20
        let server = try ServerFixture(poolBytes: 2 << 20, limits: limits)
        defer { server.stop() }
        let clients = try (0..<6).map { _ in try RawClient(path: server.path, export: "") }
        // Three fifths of each write: none can be finished before another one has gone.
        let data = Self.pattern(3 << 20, seed: 1)
        for (number, client) in clients.enumerated() {
            try client.send(RawClient.request(1, offset: UInt64(number) * 4 << 20, length: 3 << 20) + data.prefix(4096))
        }
        // One after the other, in the order of arrival.
        for client in clients {
            try client.send(Array(data.dropFirst(4096)))
            #expect(try client.simpleReply().error == 0)
        }
        for (number, client) in clients.enumerated() {
            try client.send(RawClient.request(0, offset: UInt64(number) * 4 << 20, length: 3 << 20))
            #expect(try client.simpleReply().error == 0)
            #expect(try client.receive(3 << 20) == data)
        }
    }

    @Test func aPieceWaitsForItsBufferAndShortRequestsGoOn() throws {
        let server = try ServerFixture(poolBytes: 1 << 20)
        defer { server.stop() }
        let holder = try RawClient(path: server.path, export: "")
        try holder.send(RawClient.request(1, cookie: 9, length: 65536) + Self.pattern(1000, seed: 0))
        server.eventually("a part of the pool is taken") { server.state.bytesInUse.load(ordering: .relaxed) == 65536 }
        let client = try RawClient(path: server.path, export: "")
        try client.send(RawClient.request(0, cookie: 1, length: 2 << 20))
        try NBDHostileClientTests.stillServes(server)
        #expect(server.state.requests.load(ordering: .relaxed) == 2, "the long read has no buffer yet")
        try holder.send(Self.pattern(65536 - 1000, seed: 0))
        #expect(try holder.simpleReply() == (0, 9))
        #expect(try client.simpleReply() == (0, 1))
        #expect(try client.receive(2 << 20).count == 2 << 20)
    }

    @Test func whoVanishesInALongRequestLeavesNothingBehind() throws {
        var limits = NBDLimits()
        limits.longBytes = 4 << 20
        let server = try ServerFixture(poolBytes: 1 << 20, limits: limits)
        defer { server.stop() }
        for sent in [0, 300_000, 4 << 20] {
            server.state.holds.store(true, ordering: .relaxed)
            let client = try RawClient(path: server.path, export: "")
            try client.send(RawClient.request(1, length: 4 << 20) + Self.pattern(sent, seed: 2))
            try client.send(RawClient.request(0, length: 4 << 20))
            usleep(20_000)
            client.socket.shutdown()
            usleep(20_000)
            server.state.holds.store(false, ordering: .relaxed)
            server.eventually("the client is gone") { server.state.clients.load(ordering: .relaxed) == 0 }
        }
        // All of the memory is free again.
        let next = try RawClient(path: server.path, export: "")
        try next.send(RawClient.request(0, cookie: 3, length: 4 << 20))
        #expect(try next.simpleReply() == (0, 3))
    }

    @Test func anErrorInAPieceIsAnErrorOfTheWhole() throws {
        let server = try ServerFixture()
        defer { server.stop() }
        let client = try RawClient(path: server.path, export: "")
        server.state.fails.store(true, ordering: .relaxed)
        try client.send(RawClient.request(0, cookie: 4, length: 8 << 20))
        #expect(try client.simpleReply() == (5, 4))
        #expect(server.state.requests.load(ordering: .relaxed) == 1, "the pieces behind it are not tried")
        server.state.fails.store(false, ordering: .relaxed)
        try NBDHostileClientTests.stillServes(server)
    }
}
