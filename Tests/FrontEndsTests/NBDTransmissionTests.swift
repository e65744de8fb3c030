import Testing

@testable import FrontEnds

private func encode(_ request: NBDRequest, magic: UInt32 = NBDMagic.request) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendBigEndian(magic)
    bytes.appendBigEndian(request.flags.rawValue)
    bytes.appendBigEndian(request.untrustedType)
    bytes.appendBigEndian(request.cookie)
    bytes.appendBigEndian(request.offset)
    bytes.appendBigEndian(request.length)
    return bytes
}

private let disk = NBDExport(name: "disk", size: 1 << 20, maximumPayload: 65536)

private func verdict(
    _ command: NBDCommand, offset: UInt64 = 0, length: UInt32 = 4096, flags: NBDCommandFlags = [], structured: Bool = false,
    on export: NBDExport = disk
) -> NBDRequest.Verdict {
    NBDRequest(flags: flags, type: command.rawValue, cookie: 1, offset: offset, length: length)
        .verdict(on: export, structuredReplies: structured)
}

@Suite struct NBDRequestTests {
    @Test func validRequestsAreAccepted() {
        #expect(verdict(.read) == .accept(.read))
        #expect(verdict(.write, offset: 512, length: 512, flags: .fua) == .accept(.write))
        #expect(verdict(.read, offset: (1 << 20) - 512, length: 512) == .accept(.read))
        #expect(verdict(.flush, length: 0) == .accept(.flush))
        #expect(verdict(.trim, length: 1 << 20) == .accept(.trim))
        #expect(verdict(.writeZeroes, length: 1 << 20, flags: [.fua, .noHole]) == .accept(.writeZeroes))
        #expect(verdict(.read, flags: .dontFragment, structured: true) == .accept(.read))
    }

    @Test func rangesPastTheEndAreRefused() {
        #expect(verdict(.read, offset: 1 << 20) == .refuse(.invalid))
        #expect(verdict(.read, offset: (1 << 20) - 512, length: 1024) == .refuse(.invalid))
        #expect(verdict(.write, offset: 1 << 20) == .refuse(.noSpace))
        #expect(verdict(.read, offset: UInt64.max - 511, length: 512) == .refuse(.invalid))
        #expect(verdict(.writeZeroes, offset: UInt64.max - 511, length: 0xffff_fe00) == .refuse(.noSpace))
    }

    @Test func unalignedAndEmptyRequestsAreRefused() {
        #expect(verdict(.read, offset: 1) == .refuse(.invalid))
        #expect(verdict(.write, length: 513) == .refuse(.invalid))
        #expect(verdict(.read, length: 0) == .refuse(.invalid))
        var export = disk
        export.minimumBlock = 4096
        #expect(verdict(.read, length: 512, on: export) == .refuse(.invalid))
        #expect(verdict(.read, length: 4096, on: export) == .accept(.read))
    }

    @Test func tooLongRequestsAreRefusedAndEndlessOnesEndTheConnection() {
        #expect(verdict(.read, length: 65536 + 512) == .refuse(.overflow))
        #expect(verdict(.write, length: 65536 + 512) == .refuse(.overflow))
        #expect(verdict(.write, length: .max) == .close)
    }

    @Test func whatWasNotOfferedIsRefused() {
        var export = disk
        export.canTrim = false
        export.canWriteZeroes = false
        export.canFlush = false
        #expect(verdict(.trim, on: export) == .refuse(.invalid))
        #expect(verdict(.writeZeroes, on: export) == .refuse(.invalid))
        #expect(verdict(.flush, length: 0, on: export) == .refuse(.invalid))
        #expect(verdict(.write, flags: .fua, on: export) == .refuse(.invalid))
        #expect(verdict(.read, flags: .dontFragment) == .refuse(.invalid))
        #expect(verdict(.writeZeroes, flags: .fastZero) == .refuse(.invalid))
        #expect(NBDRequest(type: 5, cookie: 0, offset: 0, length: 0).verdict(on: disk, structuredReplies: true) == .refuse(.invalid))
    }

    @Test func aReadOnlyExportCannotBeChanged() {
        var export = disk
        export.isReadOnly = true
        for command: NBDCommand in [.write, .trim, .writeZeroes] { #expect(verdict(command, on: export) == .refuse(.notPermitted)) }
        #expect(verdict(.read, on: export) == .accept(.read))
    }
}

@Suite struct NBDTransmissionTests {
    @Test func severalRequestsComeOutOfOneBuffer() {
        var machine = NBDTransmission(export: disk, structuredReplies: false)
        let bytes =
            encode(NBDRequest(type: 0, cookie: 1, offset: 0, length: 512)) + encode(NBDRequest(type: 0, cookie: 2, offset: 0, length: 512))
            + [0x25]
        var position = 0
        for cookie: UInt64 in 1...2 {
            guard case .request(let request, .read) = machine.next(bytes.span, at: &position) else { Issue.record("no request"); return }
            #expect(request.cookie == cookie)
        }
        #expect(machine.next(bytes.span, at: &position) == .needsInput)
        #expect(position == 56)
    }

    @Test func aWritesDataIsTakenBeforeTheNextRequest() {
        var machine = NBDTransmission(export: disk, structuredReplies: false)
        let bytes = encode(NBDRequest(type: 1, cookie: 1, offset: 0, length: 512))
        var position = 0
        _ = machine.next(bytes.span, at: &position)
        #expect(machine.payload == 512)
        #expect(machine.take(500) == 500)
        #expect(machine.take(500) == 12)
        #expect(machine.payload == 0)
    }

    @Test func theDataOfARefusedWriteIsSkipped() {
        var machine = NBDTransmission(export: disk, structuredReplies: false)
        var bytes = encode(NBDRequest(type: 1, cookie: 1, offset: 1, length: 1000))
        bytes += Array(repeating: 9, count: 600)
        var position = 0
        guard case .refused(_, .invalid) = machine.next(bytes.span, at: &position) else { Issue.record("not refused"); return }
        #expect(machine.next(bytes.span, at: &position) == .needsInput)
        #expect(machine.skipping == 400)
        let rest = Array(repeating: UInt8(9), count: 400) + encode(NBDRequest(type: 2, cookie: 0, offset: 0, length: 0))
        position = 0
        #expect(machine.next(rest.span, at: &position) == .disconnect)
    }

    @Test func anUnknownCommandIsRefusedAndTheStreamGoesOn() {
        var machine = NBDTransmission(export: disk, structuredReplies: false)
        let bytes =
            encode(NBDRequest(type: 200, cookie: 1, offset: 0, length: .max))
            + encode(NBDRequest(type: 0, cookie: 2, offset: 0, length: 512))
        var position = 0
        guard case .refused(_, .invalid) = machine.next(bytes.span, at: &position) else { Issue.record("not refused"); return }
        guard case .request(_, .read) = machine.next(bytes.span, at: &position) else { Issue.record("no request"); return }
    }

    @Test func aWrongMagicBreaksTheStreamForGood() {
        var machine = NBDTransmission(export: disk, structuredReplies: false)
        var position = 0
        #expect(machine.next([1, 2, 3, 4].span, at: &position) == .broken)
        position = 0
        let good = encode(NBDRequest(type: 0, cookie: 2, offset: 0, length: 512))
        #expect(machine.next(good.span, at: &position) == .broken)
    }

    @Test func repliesHaveTheShapeOfTheProtocol() {
        let request = NBDRequest(type: 0, cookie: 0x0102, offset: 0x10_0000, length: 512)
        var bytes = [UInt8](repeating: 0xee, count: NBDReply.maximumSize)
        var span = bytes.mutableSpan
        #expect(NBDReply.encodeRead(request, structured: true, into: &span) == 28)
        #expect(bytes.prefix(28) == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 2, 8, 0, 0, 0, 0, 0, 0x10, 0, 0])
        span = bytes.mutableSpan
        #expect(NBDReply.encodeError(.io, to: request, structured: false, into: &span) == 16)
        #expect(bytes.prefix(16) == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 2])
        span = bytes.mutableSpan
        let size = NBDReply.encodeError(.noSpace, to: request, structured: true, into: &span)
        #expect(bytes.span.bigEndian(at: 16, as: UInt32.self).map(Int.init) == size - 20)
        #expect(bytes.span.text(at: 26, length: size - 26) == "the request reaches past the end of the export")
    }
}
