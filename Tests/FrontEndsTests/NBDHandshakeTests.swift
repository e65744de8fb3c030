import Testing

@testable import FrontEnds

/// Builds what a client would send, and takes apart what the server answers.
struct HandshakeClient {
    var handshake = NBDHandshake()
    var output: [UInt8] = []

    static let exports = [
        NBDExport(name: "nvme0n1", description: "a disk", size: 1 << 20),
        NBDExport(name: "nvme0n2", size: 1 << 21, minimumBlock: 4096, isReadOnly: true),
    ]

    mutating func feed(_ bytes: [UInt8], exports: [NBDExport] = Self.exports) -> (consumed: Int, step: NBDHandshake.Step) {
        handshake.consume(bytes.span, exports: exports, output: &output)
    }

    static func flags(_ value: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(value)
        return bytes
    }

    static func option(_ number: UInt32, _ data: [UInt8] = []) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(NBDMagic.option)
        bytes.appendBigEndian(number)
        bytes.appendBigEndian(UInt32(data.count))
        return bytes + data
    }

    static func info(_ name: String, requests: [UInt16] = []) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(UInt32(name.utf8.count))
        bytes += Array(name.utf8)
        bytes.appendBigEndian(UInt16(requests.count))
        for request in requests { bytes.appendBigEndian(request) }
        return bytes
    }

    /// The replies in the output: type and data.
    var replies: [(type: UInt32, data: [UInt8])] {
        var found: [(UInt32, [UInt8])] = []
        var rest = output[...]
        while rest.count >= 20 {
            let header = Array(rest.prefix(20))
            let length = Int(header.span.bigEndian(at: 16, as: UInt32.self) ?? 0)
            found.append((header.span.bigEndian(at: 12, as: UInt32.self) ?? 0, Array(rest.dropFirst(20).prefix(length))))
            rest = rest.dropFirst(20 + length)
        }
        return found
    }
}

@Suite struct NBDHandshakeTests {
    @Test func goChoosesTheNamedExportAndTellsItsLimits() {
        var client = HandshakeClient()
        let bytes =
            HandshakeClient.flags(3) + HandshakeClient.option(8)
            + HandshakeClient.option(7, HandshakeClient.info("nvme0n2", requests: [1, 2, 3]))
        let (consumed, step) = client.feed(bytes)
        #expect(consumed == bytes.count)
        #expect(step == .transmission(export: 1, structuredReplies: true))
        #expect(client.replies.map(\.type) == [1, 3, 3, 3, 1])
        let limits = client.replies[3].data
        #expect(limits.span.bigEndian(at: 2, as: UInt32.self) == 4096)
        let export = client.replies[1].data
        let flags = export.span.bigEndian(at: 10, as: UInt16.self)
        #expect(flags.map { $0 & 2 } == 2, "the export is read-only")
    }

    @Test func theEmptyNameIsTheFirstExport() {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(3))
        #expect(client.feed(HandshakeClient.option(1)).step == .transmission(export: 0, structuredReplies: false))
        #expect(client.output.count == 10)
    }

    @Test func exportNameWithoutNoZeroesIsPadded() {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(1))
        _ = client.feed(HandshakeClient.option(1, Array("nvme0n1".utf8)))
        #expect(client.output.count == 134)
    }

    @Test func listNamesEveryExport() {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(3) + HandshakeClient.option(3))
        #expect(client.replies.map(\.type) == [2, 2, 1])
    }

    @Test(arguments: [(UInt32(5), UInt32(0x8000_0002)), (9, 0x8000_0003), (10, 0x8000_0003), (11, 0x8000_0001), (77, 0x8000_0001)])
    func whatIsNotOfferedIsRefusedAndTheHagglingGoesOn(option: UInt32, reply: UInt32) {
        var client = HandshakeClient()
        #expect(client.feed(HandshakeClient.flags(3) + HandshakeClient.option(option, [1, 2, 3])).step == .needsInput)
        #expect(client.replies.map(\.type) == [reply])
        #expect(client.feed(HandshakeClient.option(7, HandshakeClient.info(""))).step == .transmission(export: 0, structuredReplies: false))
    }

    @Test func anUnknownExportIsRefusedByGoAndClosesAfterExportName() {
        var client = HandshakeClient()
        #expect(client.feed(HandshakeClient.flags(3) + HandshakeClient.option(7, HandshakeClient.info("sda"))).step == .needsInput)
        #expect(client.replies.map(\.type) == [0x8000_0006])
        #expect(client.feed(HandshakeClient.option(1, Array("sda".utf8))).step == .close(.noSuchExport))
    }

    @Test func lengthsThatDoNotAddUpAreInvalid() {
        for data: [UInt8] in [
            [], [0, 0, 0], [255, 255, 255, 255, 0, 0], [0, 0, 0, 9, 1, 2, 3, 0, 0], HandshakeClient.info("", requests: [1]) + [0],
        ] {
            var client = HandshakeClient()
            #expect(client.feed(HandshakeClient.flags(3) + HandshakeClient.option(6, data)).step == .needsInput)
            #expect(client.replies.map(\.type) == [0x8000_0003])
        }
    }

    @Test func anOverlongOptionIsSkippedWithoutBeingKept() {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(3))
        var header: [UInt8] = []
        header.appendBigEndian(NBDMagic.option)
        header.appendBigEndian(UInt32(6))
        header.appendBigEndian(UInt32(100_000))
        #expect(client.feed(header) == (16, .needsInput))
        for _ in 0..<99 { #expect(client.feed(Array(repeating: 7, count: 1000)) == (1000, .needsInput)) }
        #expect(client.replies.map(\.type) == [])
        #expect(client.feed(Array(repeating: 7, count: 1000)) == (1000, .needsInput))
        #expect(client.feed(HandshakeClient.option(2)).step == .close(.aborted))
        #expect(client.replies.map(\.type) == [0x8000_0009, 1])
    }

    @Test func aGiantOptionEndsTheConnectionAtItsHeader() {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(3))
        var header: [UInt8] = []
        header.appendBigEndian(NBDMagic.option)
        header.appendBigEndian(UInt32(3))
        header.appendBigEndian(UInt32.max)
        #expect(client.feed(header).step == .close(.optionTooLong))
    }

    @Test func aWrongMagicAndUnknownFlagsEndTheConnection() {
        var client = HandshakeClient()
        #expect(client.feed(HandshakeClient.flags(4)).step == .close(.unknownClientFlags))
        client = HandshakeClient()
        #expect(client.feed(HandshakeClient.flags(3) + Array(repeating: 0, count: 16)).step == .close(.badMagic))
    }

    @Test func endlessHagglingEnds() {
        var client = HandshakeClient()
        _ = client.feed(HandshakeClient.flags(3))
        var last = NBDHandshake.Step.needsInput
        for _ in 0...NBDHandshake.maximumOptionCount { last = client.feed(HandshakeClient.option(99)).step }
        #expect(last == .close(.tooManyOptions))
    }

    @Test func bytesOneByOneGiveTheSameAsAllAtOnce() {
        let bytes =
            HandshakeClient.flags(3) + HandshakeClient.option(8) + HandshakeClient.option(3)
            + HandshakeClient.option(6, HandshakeClient.info("nvme0n1", requests: [3]))
            + HandshakeClient.option(7, HandshakeClient.info("nvme0n1"))
        var whole = HandshakeClient()
        let expected = whole.feed(bytes).step
        var pieces = HandshakeClient()
        var buffer: [UInt8] = []
        var step = NBDHandshake.Step.needsInput
        for byte in bytes {
            buffer.append(byte)
            let result = pieces.feed(buffer)
            buffer.removeFirst(result.consumed)
            step = result.step
        }
        #expect(step == expected)
        #expect(pieces.output == whole.output)
    }
}
