import Testing
import VirtioNet

@Suite struct HeaderTests {
    private let everything: VirtioNetFeatures = [.checksum, .hostTSO4, .hostTSO6, .hostECN, .hostUFO, .hostUSO]

    private func check(_ header: VirtioNetHeader, bytes: Int = 1514, with features: VirtioNetFeatures? = nil) -> VirtioNetHeaderError? {
        do {
            _ = try VirtioNetHeader(
                untrustedLow: header.low, high: header.high, packetBytes: bytes, features: features ?? everything)
            return nil
        } catch { return error }
    }

    private func header(_ change: (inout VirtioNetHeader) -> Void) -> VirtioNetHeader {
        var header = VirtioNetHeader()
        change(&header)
        return header
    }

    private var segmented: VirtioNetHeader {
        header {
            $0.flags = 1
            $0.segmentation = 1
            $0.segmentBytes = 1448
            $0.headerBytes = 66
            $0.checksumStart = 34
            $0.checksumOffset = 16
        }
    }

    @Test func fieldsSurviveTheRoundTrip() {
        var full = segmented
        full.bufferCount = 0x1234
        #expect(VirtioNetHeader(low: full.low, high: full.high) == full)
        #expect(full.low == 0x0022_05a8_0042_0101)
        #expect(full.high == 0x1234_0010)
    }

    @Test func honestHeadersPass() {
        #expect(check(VirtioNetHeader()) == nil)
        #expect(check(segmented, bytes: 65549) == nil)
    }

    @Test func nothingIsLeftOfWhatADriverMustNotSay() throws {
        let odd = header {
            $0.flags = 0xfe
            $0.headerBytes = 9999
            $0.segmentBytes = 7
            $0.checksumStart = 60000
            $0.checksumOffset = 60000
            $0.bufferCount = 77
        }
        let clean = try VirtioNetHeader(untrustedLow: odd.low, high: odd.high, packetBytes: 60, features: everything)
        #expect(clean == VirtioNetHeader())
    }

    @Test func sizesOfPacketsHaveLimits() {
        #expect(check(VirtioNetHeader(), bytes: 13) == .packetSize(13))
        #expect(check(VirtioNetHeader(), bytes: 14) == nil)
        #expect(check(VirtioNetHeader(), bytes: 65557) == nil)
        #expect(check(VirtioNetHeader(), bytes: 65558) == .packetSize(65558))
    }

    @Test func checksumsLieWithinThePacket() {
        var wild = segmented
        wild.checksumOffset = UInt16.max
        #expect(check(wild) == .checksumOutsidePacket)
        wild.checksumOffset = 16
        #expect(check(wild, bytes: 51) == .checksumOutsidePacket)
        #expect(check(wild, bytes: 66) == nil)
        wild.checksumStart = 13
        #expect(check(wild) == .checksumOutsidePacket)
    }

    @Test func segmentationIsCompleteOrRefused() {
        var wild = segmented
        wild.segmentBytes = 0
        #expect(check(wild) == .segmentTooSmall(0))
        wild = segmented
        wild.flags = 0
        #expect(check(wild) == .segmentationWithoutChecksum)
        wild = segmented
        wild.headerBytes = 1515
        #expect(check(wild) == .headersOutsidePacket)
        for type: UInt8 in [2, 6, 0x7f, 0x80, 0x83, 0x85, 0xff] {
            wild = segmented
            wild.segmentation = type
            #expect(check(wild) == .segmentationUnknown(type))
        }
    }

    @Test func nothingIsCutIntoPiecesThatNobodySends() {
        var small = segmented
        for type: UInt8 in [1, 0x81, 4, 0x84, 3] {
            small.segmentation = type
            small.segmentBytes = 47
            #expect(check(small) == .segmentTooSmall(47))
            small.segmentBytes = 48
            #expect(check(small) == nil)
        }
        // Datagrams are as small as programs make them, but not any number of them at once.
        small.segmentation = 5
        small.segmentBytes = 12
        #expect(check(small, bytes: 42 + 128 * 12) == nil)
        #expect(check(small, bytes: 43 + 128 * 12) == .segmentTooSmall(12))
    }

    @Test func onlyWhatWasNegotiatedMayBeAskedFor() {
        #expect(check(segmented, with: [.checksum]) == .notNegotiated)
        #expect(check(segmented, with: [.hostTSO4]) == .notNegotiated)
        var marked = segmented
        marked.segmentation = 0x81
        #expect(check(marked, with: [.checksum, .hostTSO4]) == .notNegotiated)
        #expect(check(marked, with: [.checksum, .hostTSO4, .hostECN]) == nil)
    }

    @Test func aDriverGetsOnlyWhatItTakes() {
        func given(_ header: VirtioNetHeader, _ features: VirtioNetFeatures) -> VirtioNetHeader? {
            var header = header
            return header.restrict(to: features) ? header : nil
        }
        #expect(given(VirtioNetHeader(), []) == VirtioNetHeader())
        #expect(given(segmented, [.guestTSO4]) == nil)
        #expect(given(segmented, [.guestChecksum]) == nil)
        #expect(given(segmented, [.guestChecksum, .guestTSO4]) == segmented)
        let verified = header { ($0.flags, $0.checksumStart, $0.checksumOffset) = (2, 34, 16) }
        #expect(given(verified, [.guestChecksum]) == verified)
        #expect(given(verified, []) == VirtioNetHeader())
    }
}

@Suite struct ConfigurationTests {
    @Test func theLayoutIsTheSpecifications() throws {
        let configuration = VirtioNetConfiguration(
            mac: 0x5254_0012_3456, hasLink: true, queuePairs: 2, mtu: 9000, speed: 1000, duplex: 1)
        let bytes = (0..<VirtioNetConfiguration.byteCount).map(configuration.byte)
        #expect(bytes == [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 2, 0, 0x28, 0x23, 0xe8, 3, 0, 0, 1])
        #expect(VirtioNetConfiguration(untrusted: bytes.span) == configuration)
    }

    @Test func impossibleDevicesAreRefused() {
        let good = VirtioNetConfiguration(mac: 0x5254_0012_3456, hasLink: false, mtu: 1500)
        func decode(_ change: (inout [UInt8]) -> Void) -> VirtioNetConfiguration? {
            var bytes = (0..<VirtioNetConfiguration.byteCount).map(good.byte)
            change(&bytes)
            return VirtioNetConfiguration(untrusted: bytes.span)
        }
        #expect(decode { _ in } == good)
        #expect(decode { $0.removeLast() } == nil)
        #expect(decode { $0[0] |= 1 } == nil)
        #expect(decode { for index in 0..<6 { $0[index] = 0 } } == nil)
        #expect(decode { ($0[10], $0[11]) = (67, 0) } == nil)
        #expect(decode { $0[16] = 2 } == nil)
    }
}
