/// An Ethernet hardware address.
public struct MACAddress: Equatable, Sendable, CustomStringConvertible {
    /// The six octets as a number, the first one in the highest place.
    public let value: UInt64

    /// The address with these octets; more than 48 bits are cut off.
    public init(value: UInt64) { self.value = value & 0xFFFF_FFFF_FFFF }

    /// Six octets; nil for any other number of them.
    public init?(_ octets: some Collection<UInt8>) {
        guard octets.count == 6 else { return nil }
        var value: UInt64 = 0
        for octet in octets { value = value << 8 | UInt64(octet) }
        self.value = value
    }

    /// "52:54:00:12:34:56", digits in either case; nil for anything else.
    public init?(text: String) {
        var octets: [UInt8] = []
        for part in text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
            guard part.count == 2 else { return nil }
            var octet: UInt8 = 0
            for character in part {
                switch character {
                case UInt8(ascii: "0")...UInt8(ascii: "9"): octet = octet << 4 | (character - UInt8(ascii: "0"))
                case UInt8(ascii: "a")...UInt8(ascii: "f"): octet = octet << 4 | (character - UInt8(ascii: "a") + 10)
                case UInt8(ascii: "A")...UInt8(ascii: "F"): octet = octet << 4 | (character - UInt8(ascii: "A") + 10)
                default: return nil
                }
            }
            octets.append(octet)
        }
        self.init(octets)
    }

    /// The octets in the order of the wire.
    public var octets: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: value >> UInt64(40 - 8 * $0)) } }

    /// One address for many stations: never the address of an interface.
    public var isMulticast: Bool { value >> 40 & 1 != 0 }

    /// Usable as the address of one interface: not multicast, not zero.
    public var isUnicast: Bool { !isMulticast && value != 0 }

    /// "52:54:00:12:34:56".
    public var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for octet in octets {
            if !text.isEmpty { text.append(UInt8(ascii: ":")) }
            text.append(digits[Int(octet >> 4)])
            text.append(digits[Int(octet & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
