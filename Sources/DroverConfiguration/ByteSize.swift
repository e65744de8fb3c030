/// A number of bytes, written with a unit: `128MiB`.
public struct ByteSize: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var bytes: Int64

    public init(bytes: Int64) {
        self.bytes = bytes
    }

    public static func mebibytes(_ count: Int64) -> ByteSize { ByteSize(bytes: count << 20) }

    /// Whole MiB, rounded down.
    public var mebibytes: Int { Int(bytes >> 20) }

    public static func < (left: ByteSize, right: ByteSize) -> Bool { left.bytes < right.bytes }

    /// In the largest binary unit that divides it.
    public var description: String {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] where bytes != 0 && bytes & (1 << shift - 1) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)B"
    }

    static let units: [(name: String, factor: Int64)] = [
        ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("kB", 1000), ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ]

    /// Throws what is wrong with `text`, in words.
    init(parsing text: String) throws(QuantityProblem) {
        bytes = try Quantity(text, units: Self.units, example: "128MiB").value
    }
}

/// Why a quantity was not understood, as the end of a sentence.
struct QuantityProblem: Error, Equatable {
    var message: String
}

/// A decimal number and a unit, exact in the smallest unit.
struct Quantity {
    var value: Int64

    init(_ text: String, units: [(name: String, factor: Int64)], example: String) throws(QuantityProblem) {
        let number = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        let unit = text.dropFirst(number.count).drop { $0 == " " }
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }), parts[0].count <= 18 else {
            throw QuantityProblem(message: "'\(text)' is not a number with a unit, such as \(example)")
        }
        let names = units.map(\.name)
        guard !unit.isEmpty else {
            throw QuantityProblem(
                message: "'\(text)' has no unit: write it with one of \(names.joined(separator: ", ")), such as \(example)")
        }
        guard let factor = units.first(where: { $0.name == unit })?.factor else {
            let close = names.first { $0.lowercased() == unit.lowercased() } ?? closest(to: String(unit), among: names)
            let suggestion = close.map { "did you mean '\(number)\($0)'?" } ?? "the units are \(names.joined(separator: ", "))"
            throw QuantityProblem(message: "'\(unit)' in '\(text)' is not a unit; \(suggestion)")
        }
        // At most 18 digits each side, so neither number overflows before it is scaled.
        let whole = Int64(parts[0]) ?? 0
        var (result, overflow) = whole.multipliedReportingOverflow(by: factor)
        if parts.count == 2 {
            var scale = factor
            for digit in parts[1].prefix(18) {
                scale /= 10
                let (sum, more) = result.addingReportingOverflow(scale * Int64(digit.wholeNumberValue ?? 0))
                result = sum
                overflow = overflow || more
            }
        }
        guard !overflow else { throw QuantityProblem(message: "'\(text)' is too large") }
        value = result
    }
}
