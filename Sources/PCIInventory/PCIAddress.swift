/// Where a PCI function is: domain, bus, device, function.
public struct PCIAddress: Sendable, Hashable, Codable, Comparable {
    public let domain: UInt32
    public let bus: UInt8
    /// Below 32.
    public let device: UInt8
    /// Below 8.
    public let function: UInt8

    /// Nil when device or function are out of range.
    public init?(domain: UInt32, bus: UInt8, device: UInt8, function: UInt8) {
        guard device < 32, function < 8 else { return nil }
        self.domain = domain
        self.bus = bus
        self.device = device
        self.function = function
    }

    /// Reads `0000:01:00.0`, or `01:00.0` for domain 0. Nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2 || parts.count == 3 else { return nil }
        let slot = parts[parts.count - 1].split(separator: ".", omittingEmptySubsequences: false)
        guard slot.count == 2,
            let domain = parts.count == 3 ? Self.hexadecimal(parts[0], 4...8) : 0,
            let bus = Self.hexadecimal(parts[parts.count - 2], 2...2),
            let device = Self.hexadecimal(slot[0], 2...2),
            let function = Self.hexadecimal(slot[1], 1...1)
        else { return nil }
        self.init(domain: domain, bus: UInt8(bus), device: UInt8(device), function: UInt8(function))
    }

    private static func hexadecimal(_ text: Substring, _ digits: ClosedRange<Int>) -> UInt32? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }) else {
            return nil
        }
        return UInt32(text, radix: 16)
    }

    public static func < (a: PCIAddress, b: PCIAddress) -> Bool {
        (a.domain, a.bus, a.device, a.function) < (b.domain, b.bus, b.device, b.function)
    }
}

extension PCIAddress: CustomStringConvertible {
    /// As sysfs names it: `0000:01:00.0`.
    public var description: String {
        "\(padded(domain, 4)):\(padded(bus, 2)):\(padded(device, 2)).\(String(function, radix: 16))"
    }
}

/// Hexadecimal digits, at least `digits` of them.
func padded(_ value: some BinaryInteger, _ digits: Int, uppercase: Bool = false) -> String {
    let text = String(value, radix: 16, uppercase: uppercase)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
