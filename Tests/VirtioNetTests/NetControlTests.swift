import Testing
import VirtioNet

/// One of every command.
private let commands: [NetControlCommand] = [
    .setPromiscuous(true), .setPromiscuous(false), .setAllMulticast(true),
    .setMACTable(unicast: [0x5254_0000_0001, 2], multicast: [0x0100_5E00_0001]), .setMACTable(unicast: [], multicast: []),
    .setMAC(0x5254_0012_3456), .addVLAN(4095), .removeVLAN(0), .setTransmitCoalescing(packets: 3, microseconds: 50),
    .setReceiveCoalescing(packets: NetControlCommand.leave, microseconds: 0), .describe, .setMTU(9000),
    .setRing(receive: 1024, transmit: NetControlCommand.leave), .statistics(first: 100),
]

@Suite struct NetControlTests {
    @Test func everyCommandComesBackAsItWasSent() throws {
        for command in commands { #expect(try NetControlCommand(untrusted: command.encoded().span) == command) }
    }

    /// virtio 1.2, 5.1.6.5, byte for byte.
    @Test func standardCommandsHaveTheStandardsLayout() {
        #expect(NetControlCommand.setPromiscuous(true).encoded() == [0, 0, 1])
        #expect(NetControlCommand.setMAC(0x5254_0012_3456).encoded() == [1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
        #expect(NetControlCommand.removeVLAN(0x123).encoded() == [2, 1, 0x23, 0x01])
        #expect(
            NetControlCommand.setMACTable(unicast: [], multicast: [0x0100_5E00_0001]).encoded()
                == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x5E, 0, 0, 1])
        #expect(NetControlCommand.setReceiveCoalescing(packets: 2, microseconds: 258).encoded() == [6, 1, 2, 0, 0, 0, 2, 1, 0, 0])
    }

    @Test func commandsOfAnotherLengthAreRefused() {
        for command in commands {
            let bytes = command.encoded()
            for count in 0..<bytes.count {
                #expect(throws: NetControlError.self, "\(command) cut to \(count)") {
                    try NetControlCommand(untrusted: Array(bytes.prefix(count)).span)
                }
            }
            #expect(throws: NetControlError.wrongSize) { try NetControlCommand(untrusted: (bytes + [0]).span) }
        }
    }

    @Test func impossibleValuesAreRefused() {
        func check(_ bytes: [UInt8], _ error: NetControlError) {
            #expect(throws: error) { try NetControlCommand(untrusted: bytes.span) }
        }
        check([0, 0, 2], .invalid)
        check([2, 0, 0, 16], .invalid)  // VLAN 4096
        check([1, 0, 65, 0, 0, 0], .invalid)
        check([1, 0, 255, 255, 255, 255], .invalid)
        check([1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], .invalid)  // a multicast address among unicast ones
        check([9, 0], .unknown(class: 9, command: 0))
        check([0xD0, 99], .unknown(class: 0xD0, command: 99))
    }

    @Test func answersComeBackAsTheyWereSent() throws {
        for answer: NetControlAnswer in [
            .done(result: []), .done(result: [1, 2, 3]), .refused(code: 22, reason: "mtu greater than device maximum"),
            .refused(code: 95, reason: ""),
        ] { #expect(try NetControlAnswer(untrusted: answer.encoded().span) == answer) }
        #expect(throws: NetControlError.wrongSize) { try NetControlAnswer(untrusted: [UInt8]().span) }
        #expect(throws: NetControlError.wrongSize) { try NetControlAnswer(untrusted: [1, 0, 0, 0].span) }
        #expect(throws: NetControlError.invalid) { try NetControlAnswer(untrusted: [2].span) }
        #expect(throws: NetControlError.wrongSize) { try NetControlAnswer(untrusted: [UInt8](repeating: 0, count: 4082).span) }
    }

    /// What a guest says is shown on a terminal.
    @Test func textsKeepNoControlCharacters() throws {
        let answer: [UInt8] = [1, 22, 0, 0, 0] + Array("a\u{1B}[2Jb\n".utf8)
        #expect(try NetControlAnswer(untrusted: answer.span) == .refused(code: 22, reason: "a[2Jb"))
        var description = Self.description
        description.driver = "e1000\u{7}e"
        #expect(try NetDescription(untrusted: description.encoded().span).driver == "e1000e")
    }

    private static let description: NetDescription = {
        var description = NetDescription()
        description.mac = 0x5254_0012_3456
        description.permanentMAC = 0x5254_0012_3457
        description.flags = [.carrier, .knowsSpeed, .hasRing, .hasReceiveMicroseconds]
        (description.mtu, description.smallestMTU, description.largestMTU) = (1500, 68, 9216)
        description.speed = 1000
        (description.receiveRing, description.receiveRingMost) = (256, 4096)
        (description.transmitRing, description.transmitRingMost) = (128, 2048)
        description.receiveMicroseconds = 3
        description.driver = "e1000e"
        description.driverVersion = "6.1.0-56-amd64"
        description.busAddress = "0000:00:10.0"
        description.interface = "eth0"
        return description
    }()

    @Test func aDescriptionComesBackAsItWasSent() throws {
        let bytes = Self.description.encoded()
        #expect(bytes.count == NetDescription.byteCount)
        let back = try NetDescription(untrusted: bytes.span)
        #expect(back == Self.description)
        #expect(back.driverVersion == "6.1.0-56-amd64" && back.interface == "eth0" && back.transmitRingMost == 2048)
        #expect(throws: NetControlError.wrongSize) { try NetDescription(untrusted: (bytes + [0]).span) }
        #expect(throws: NetControlError.wrongSize) { try NetDescription(untrusted: Array(bytes.dropLast()).span) }
    }

    /// The host's interface gets what a description says.
    @Test func aDescriptionThatNoInterfaceCanHaveIsRefused() {
        func check(_ change: (inout NetDescription) -> Void, _ what: Comment) {
            var description = Self.description
            change(&description)
            #expect(throws: NetControlError.invalid, what) { try NetDescription(untrusted: description.encoded().span) }
        }
        check({ $0.mac = 0 }, "no address")
        check({ $0.mac = 0x0100_5E00_0001 }, "a multicast address")
        check({ $0.mtu = 67 }, "too small an MTU")
        check(
            {
                $0.mtu = 70000; $0.largestMTU = 70000
            }, "too large an MTU")
        check({ $0.largestMTU = 1000 }, "an MTU past the largest")
        check({ $0.smallestMTU = 2000 }, "an MTU below the smallest")
        check({ $0.flags = .init(rawValue: 1 << 11) }, "an unknown flag")
    }

    @Test func aLongTextIsCutAndStillEnds() throws {
        var description = Self.description
        description.firmwareVersion = String(repeating: "x", count: 100)
        #expect(try NetDescription(untrusted: description.encoded().span).firmwareVersion == String(repeating: "x", count: 31))
    }

    @Test func pagesOfStatisticsComeBackAndAddUp() throws {
        let all = (0..<250).map { NetStatisticsPage.Counter(name: "counter_\($0)", value: UInt64($0) << 33) }
        var found: [NetStatisticsPage.Counter] = []
        while found.count < all.count {
            let part = Array(all.dropFirst(found.count).prefix(NetStatisticsPage.most))
            let page = NetStatisticsPage(total: UInt32(all.count), first: UInt32(found.count), counters: part)
            #expect(page.encoded().count <= NetControlAnswer.resultBytes)
            found += try NetStatisticsPage(untrusted: page.encoded().span).counters
        }
        #expect(found == all)
    }

    @Test func aTableOfCountersGivesTheSamePagesWithItsLatestValues() throws {
        let names = (0..<250).map { "counter_\($0)" }
        var table = NetStatisticsTable(names: names)
        for factor: UInt64 in [1, 1 << 40] {
            let values = (0..<250).map { UInt64($0) * factor }
            table.set(values)
            for first in [0, 100, 200, 250] {
                let counters = (first..<min(first + 100, 250)).map { NetStatisticsPage.Counter(name: names[$0], value: values[$0]) }
                #expect(table.page(UInt32(first)) == NetStatisticsPage(total: 250, first: UInt32(first), counters: counters).encoded())
            }
        }
        #expect(table.page(251) == nil)
        // Fewer values, or more, than there are names.
        table.set([7])
        table.set([UInt64](repeating: 8, count: 300))
        let bytes = try #require(table.page(200))
        let page = try NetStatisticsPage(untrusted: bytes.span)
        #expect(page.counters.allSatisfy { $0.value == 8 })
    }

    /// Whoever reads page after page has to come to an end.
    @Test func pagesThatWouldNeverEndAreRefused() {
        func check(_ total: UInt32, _ first: UInt32, _ count: Int) {
            let counters = (0..<count).map { NetStatisticsPage.Counter(name: "c", value: UInt64($0)) }
            let bytes = NetStatisticsPage(total: total, first: first, counters: counters).encoded()
            #expect(throws: NetControlError.self) { try NetStatisticsPage(untrusted: bytes.span) }
        }
        check(UInt32.max, 0, 100)
        check(10, 0, 0)
        check(10, 0, 9)
        check(10, 11, 0)
        check(10, 5, 6)
        check(200, 0, 101)
    }
}
