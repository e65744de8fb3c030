import Foundation
import Testing

@testable import PCIInventory

/// Default routes in tables that no file of the kernel's tells of.
@Suite struct RouteDumpTests {
    private func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

    private func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
        bytes(UInt16(4 + value.count)) + bytes(type) + value + [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
    }

    private func message(_ type: UInt16, _ body: [UInt8]) -> [UInt8] {
        bytes(UInt32(16 + body.count)) + bytes(type) + bytes(UInt16(2)) + bytes(UInt32(1)) + bytes(UInt32(0)) + body
    }

    private func route(prefix: UInt8 = 0, table: UInt8 = 252, kind: UInt8 = 1, _ attributes: [UInt8]) -> [UInt8] {
        message(24, [2, prefix, 0, 0, table, 3, 0, kind] + bytes(UInt32(0)) + attributes)
    }

    private func parse(_ answer: [UInt8]) -> (Set<UInt32>, isLast: Bool) { RouteDump.parse(answer[...]) }

    @Test func defaultRoutesOfAnyTableAreFound() {
        let table = attribute(15, bytes(UInt32(1001)))
        let gateway = attribute(5, [192, 168, 2, 1])
        let (found, isLast) = parse(
            route(table + gateway + attribute(4, bytes(UInt32(7)))) + route(prefix: 24, attribute(4, bytes(UInt32(8))))
                + route(table: 254, attribute(4, bytes(UInt32(9)))) + route(kind: 7, attribute(4, bytes(UInt32(10)))))
        #expect(found == [7, 9])
        #expect(!isLast)
    }

    @Test func everyHopOfARouteOverSeveralCounts() {
        func hop(_ index: UInt32) -> [UInt8] {
            let gateway = attribute(5, [10, 0, 0, 1])
            return bytes(UInt16(8 + gateway.count)) + [0, 0] + bytes(index) + gateway
        }
        #expect(parse(route(attribute(9, hop(3) + hop(4)))).0 == [3, 4])
    }

    @Test func theEndIsSeen() {
        let (found, isLast) = parse(route(attribute(4, bytes(UInt32(7)))) + message(3, bytes(UInt32(0))))
        #expect(found == [7])
        #expect(isLast)
        #expect(parse(message(2, bytes(Int32(-1)))).isLast)
    }

    @Test func whatIsCutShortIsNotReadBeyondItsEnd() {
        let whole = route(attribute(9, bytes(UInt16(8)) + [0, 0] + bytes(UInt32(3))))
        for length in 0..<whole.count { #expect(parse(Array(whole[..<length])).0.isEmpty) }
        #expect(parse(route([3, 0, 4, 0])).0.isEmpty)
        #expect(parse(route([255, 255, 4, 0, 1, 0, 0, 0])).0.isEmpty)
    }

    /// What the kernel's file tells of the main table is part of it.
    @Test func thisMachinesRoutesAreRead() throws {
        let text = try String(contentsOfFile: "/proc/net/route", encoding: .utf8)
        let found = RouteDump.interfaces()
        for line in text.split(separator: "\n").dropFirst() {
            let fields: [Substring] = line.split(whereSeparator: \.isWhitespace)
            guard fields[1] == "00000000", fields[7] == "00000000" else { continue }
            #expect(found.contains(String(fields[0])))
        }
    }
}
