// Text as bytes. The kernel's files are ASCII, and comparing Strings would pull Unicode tables of some hundred
// kilobytes into the guest's program.

extension String {
    /// Byte for byte equality.
    func isSame(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }

    /// Whether the bytes begin with those of `prefix`.
    func begins(with prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

    /// Whether `part` occurs anywhere.
    func contains(bytes part: String) -> Bool {
        let (text, wanted) = (Array(utf8), Array(part.utf8))
        guard wanted.count <= text.count else { return false }
        return (0...text.count - wanted.count).contains { text[$0..<$0 + wanted.count].elementsEqual(wanted) }
    }

    /// The pieces between any of `separators`, without empty ones.
    func pieces(between separators: UInt8...) -> [String] {
        utf8.split(whereSeparator: { separators.contains($0) }).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Without blanks and newlines at both ends.
    var trimmed: String {
        let isBlank: (UInt8) -> Bool = { $0 == 32 || $0 == 9 || $0 == 10 || $0 == 13 || $0 == 0 }
        var bytes = Array(utf8)
        while let last = bytes.last, isBlank(last) { bytes.removeLast() }
        return String(decoding: bytes.drop(while: isBlank), as: UTF8.self)
    }

    /// The decimal number that the whole text is; nil for anything else, and past 2⁶³ − 1.
    var number: Int? {
        guard !utf8.isEmpty else { return nil }
        var value = 0
        for byte in utf8 {
            guard byte >= 48, byte <= 57 else { return nil }
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int(byte - 48))
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    /// What follows the last slash.
    var lastComponent: String {
        pieces(between: UInt8(ascii: "/")).last ?? ""
    }
}

/// Decimal digits, without the standard library's formatting.
func decimal(_ value: Int) -> String {
    if value < 0 { return "-" + decimal(value.magnitude == Int.min.magnitude ? Int.max : -value) }
    var digits: [UInt8] = []
    var rest = value
    repeat {
        digits.append(UInt8(48 + rest % 10))
        rest /= 10
    } while rest > 0
    digits.reverse()
    return String(decoding: digits, as: UTF8.self)
}
