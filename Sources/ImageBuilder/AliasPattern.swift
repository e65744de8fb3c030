/// A pattern of `modules.alias`: what a driver says it can drive.
///
/// The semantics are those of kmod: `fnmatch` without flags (`*`, `?`, `[a-z]`, `[!a-z]`), and outside of brackets `-`
/// and `_` are the same character.
struct AliasPattern: Sendable, Equatable {
    let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    func matches(_ modalias: String) -> Bool {
        Self.matches(pattern: bytes[...], Array(modalias.utf8))
    }

    /// Takes time proportional to pattern times text at worst: only the last `*` is ever tried again.
    static func matches(pattern: ArraySlice<UInt8>, _ text: [UInt8]) -> Bool {
        var p = pattern.startIndex
        var t = 0
        var retry: (pattern: Int, text: Int)?
        while true {
            if p < pattern.endIndex, pattern[p] == UInt8(ascii: "*") {
                p += 1
                retry = (p, t)
                continue
            }
            if t == text.count, p == pattern.endIndex { return true }
            if t < text.count, p < pattern.endIndex, let next = matchOne(pattern, at: p, text[t]) {
                p = next
                t += 1
                continue
            }
            guard let last = retry, last.text < text.count else { return false }
            p = last.pattern
            t = last.text + 1
            retry = (p, t)
        }
    }

    /// Where the pattern goes on after its element at `position` matched `byte`; nil when it doesn't match.
    private static func matchOne(_ pattern: ArraySlice<UInt8>, at position: Int, _ byte: UInt8) -> Int? {
        switch pattern[position] {
        case UInt8(ascii: "?"): position + 1
        case UInt8(ascii: "["):
            if let end = bracketEnd(pattern, position) {
                bracketContains(pattern[(position + 1)..<end], byte) ? end + 1 : nil
            } else {
                byte == UInt8(ascii: "[") ? position + 1 : nil  // As fnmatch: unclosed, so an ordinary character.
            }
        default: folded(pattern[position]) == folded(byte) ? position + 1 : nil
        }
    }

    private static func folded(_ byte: UInt8) -> UInt8 { byte == UInt8(ascii: "-") ? UInt8(ascii: "_") : byte }

    /// The `]` that closes the bracket. One that comes first (after `!`) is a member.
    private static func bracketEnd(_ pattern: ArraySlice<UInt8>, _ open: Int) -> Int? {
        var first = open + 1
        if first < pattern.endIndex, isNegation(pattern[first]) { first += 1 }
        guard first + 1 < pattern.endIndex else { return nil }
        return pattern[(first + 1)...].firstIndex(of: UInt8(ascii: "]"))
    }

    private static func isNegation(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "!") || byte == UInt8(ascii: "^") }

    private static func bracketContains(_ members: ArraySlice<UInt8>, _ byte: UInt8) -> Bool {
        var members = members
        var negated = false
        if let first = members.first, isNegation(first) {
            negated = true
            members = members.dropFirst()
        }
        var found = false
        while let low = members.first {
            let rest = members.dropFirst()
            if rest.count >= 2, rest.first == UInt8(ascii: "-"), let high = rest.dropFirst().first {
                if low <= byte, byte <= high { found = true }
                members = rest.dropFirst(2)
            } else {
                if low == byte { found = true }
                members = rest
            }
        }
        return found != negated
    }
}
