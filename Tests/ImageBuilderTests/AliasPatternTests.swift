import Glibc
import Testing

@testable import ImageBuilder

@Suite struct AliasPatternTests {
    static let nvme = "pci:v00008086d00005845sv00001AF4sd00001100bc01sc08i02"

    @Test(arguments: [
        "pci:v*d*sv*sd*bc01sc08i02*", "pci:v00008086d00005845sv*sd*bc*sc*i*", "*", nvme, "pci:v0000808[6-7]d*", "pci:v0000808?d*i02",
        "pci:v0000808[!0-5]d*", "*bc01*sc08*i02",
    ])
    func aPatternThatCoversTheDeviceMatches(_ pattern: String) {
        #expect(AliasPattern(pattern).matches(Self.nvme))
    }

    @Test(arguments: [
        "pci:v*d*sv*sd*bc01sc06i01*", "", "pci:", "pci:v00008086d00005845sv*sd*bc*sc*i", "pci:v0000808[0-5]d*", "pci:v0000808[!6]d*",
        "usb:*", "\(nvme)?", "*bc02*",
    ])
    func aPatternForAnotherDeviceDoesNot(_ pattern: String) {
        #expect(!AliasPattern(pattern).matches(Self.nvme))
    }

    @Test func hyphenAndUnderscoreAreTheSame() {
        #expect(AliasPattern("crypto-crc32c").matches("crypto_crc32c"))
        #expect(AliasPattern("platform:leds_*").matches("platform:leds-gpio"))
    }

    @Test func manyStarsTakeNoExponentialTime() {
        let pattern = String(repeating: "*a", count: 40) + "b"
        #expect(!AliasPattern(pattern).matches(String(repeating: "a", count: 4000)))
    }

    /// Against the C library, over patterns and texts of a small alphabet.
    @Test func theResultIsThatOfFnmatch() {
        var generator = SystemRandomNumberGenerator()
        let pieces = ["a", "b", "c", "*", "?", "[ab]", "[!a]", "[a-c]", "ab"]
        for _ in 0..<20_000 {
            let pattern = (0..<Int.random(in: 0...6, using: &generator)).map { _ in pieces.randomElement(using: &generator)! }.joined()
            let text = String((0..<Int.random(in: 0...6, using: &generator)).map { _ in "abcd".randomElement(using: &generator)! })
            #expect(AliasPattern(pattern).matches(text) == (fnmatch(pattern, text, 0) == 0), "\(pattern) \(text)")
        }
    }
}
