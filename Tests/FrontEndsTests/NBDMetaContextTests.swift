import Testing

@testable import FrontEnds

@Suite struct NBDMetaContextTests {
    private static func option(_ number: UInt32, _ name: String, _ queries: [String]) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ text: String) {
            bytes.appendBigEndian(UInt32(text.utf8.count))
            bytes += Array(text.utf8)
        }
        add(name)
        bytes.appendBigEndian(UInt32(queries.count))
        for query in queries { add(query) }
        return HandshakeClient.option(number, bytes)
    }

    private static func started(structured: Bool = true) -> HandshakeClient {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(3) + (structured ? HandshakeClient.option(8) : []))
        client.output = []
        return client
    }

    private static let context = Array("base:allocation".utf8)

    @Test func aContextIsChosenForOneExport() {
        var client = Self.started()
        _ = client.feed(Self.option(10, "nvme0n2", ["qemu:dirty-bitmap:x", "base:allocation"]))
        #expect(client.replies.map(\.type) == [4, 1])
        #expect(client.replies[0].data == [0, 0, 0, 1] + Self.context)
        #expect(client.handshake.allocationExport == 1)
        // The next choice replaces it, whatever comes of it.
        _ = client.feed(Self.option(10, "nvme0n2", ["base:"]))
        #expect(client.handshake.allocationExport == nil)
    }

    @Test(arguments: [[], ["base:"], ["base:allocation"]]) func itIsListed(queries: [String]) {
        var client = Self.started()
        _ = client.feed(Self.option(9, "", queries))
        #expect(client.replies.map(\.type) == [4, 1])
        #expect(client.replies[0].data == [0, 0, 0, 0] + Self.context)
        #expect(client.handshake.allocationExport == nil, "a list is no choice")
    }

    @Test func whatCannotBeIsRefused() {
        var client = Self.started()
        _ = client.feed(Self.option(10, "nothing", ["base:allocation"]))
        _ = client.feed(Self.option(9, "", ["other:thing"]))
        var lying = Self.option(10, "", ["base:allocation"])
        lying[23] = 200
        _ = client.feed(lying)
        _ = client.feed(HandshakeClient.option(10, [0, 0, 0, 0, 255, 255, 255, 255]))
        _ = client.feed(HandshakeClient.option(10, [0, 0]))
        let invalid = NBDOptionReply.invalid.rawValue
        #expect(client.replies.map(\.type) == [NBDOptionReply.unknown.rawValue, 1, invalid, invalid, invalid])
        var simple = Self.started(structured: false)
        _ = simple.feed(Self.option(10, "", ["base:allocation"]))
        #expect(simple.replies.map(\.type) == [invalid])
    }

    @Test func onlyWhoHasChosenItMayAsk() {
        let disk = NBDExport(name: "disk", size: 1 << 20, isReadOnly: true)
        func ask(_ length: UInt32, offset: UInt64 = 0, flags: NBDCommandFlags = [], chosen: Bool = true) -> NBDRequest.Verdict {
            NBDRequest(flags: flags, type: 7, cookie: 1, offset: offset, length: length)
                .verdict(on: disk, structuredReplies: true, allocation: chosen)
        }
        #expect(ask(1 << 20, flags: .requestOne) == .accept(.blockStatus))
        #expect(ask(4096, chosen: false) == .refuse(.invalid))
        #expect(ask(1 << 20, offset: 512) == .refuse(.invalid))
        #expect(ask(0) == .refuse(.invalid))
        #expect(ask(4096, flags: .noHole) == .refuse(.invalid))
    }

    @Test func theAnswerIsOneExtentOfData() {
        var bytes = [UInt8](repeating: 0xee, count: NBDReply.maximumSize)
        var span = bytes.mutableSpan
        #expect(NBDReply.encodeStatus(NBDRequest(type: 7, cookie: 9, offset: 0, length: 0x10_0000), into: &span) == 32)
        #expect(
            bytes.prefix(32)
                == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0x10, 0, 0, 0, 0, 0, 0])
    }
}
