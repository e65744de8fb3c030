extension InterfaceChange {
    /// What a person writes: `mtu=9000`, `mac=52:54:00:12:34:56`, `ring=rx:256,tx:256`, `coalesce=rx-usecs:50,tx-usecs:50`,
    /// `promiscuous=on`. Each setting once. Whether the NIC takes it, its driver says.
    public init(parsing settings: [String]) throws(ControlError) {
        self.init()
        var seen: Set<String> = []
        for setting in settings {
            let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[1].isEmpty else {
                throw ControlError(.invalid, "'\(setting)' is no setting: write NAME=VALUE, such as mtu=9000.")
            }
            guard seen.insert(parts[0]).inserted else { throw ControlError(.invalid, "'\(parts[0])' is given twice; give it once.") }
            try take(parts[0], parts[1])
        }
        guard self != InterfaceChange() else { throw ControlError(.invalid, "There is nothing to set: give mtu=9000, for instance.") }
    }

    private mutating func take(_ name: String, _ value: String) throws(ControlError) {
        switch name {
        case "mtu": mtu = try Self.number(value, "mtu", 68...65535)
        case "mac": mac = try Self.address(value)
        case "promiscuous":
            guard value == "on" || value == "off" else {
                throw ControlError(.invalid, "'promiscuous' is on or off, not '\(value)'.")
            }
            isPromiscuous = value == "on"
        case "ring":
            for (key, number) in try Self.pairs(value, "ring", ["rx", "tx"], 1...65536) {
                if key == "rx" { receiveRing = number } else { transmitRing = number }
            }
        case "coalesce":
            var result = InterfaceCoalescing()
            for (key, number) in try Self.pairs(value, "coalesce", ["rx-usecs", "rx-frames", "tx-usecs", "tx-frames"], 0...1_000_000) {
                switch key {
                case "rx-usecs": result.receiveMicroseconds = number
                case "rx-frames": result.receiveFrames = number
                case "tx-usecs": result.transmitMicroseconds = number
                default: result.transmitFrames = number
                }
            }
            coalescing = result
        default:
            throw ControlError(.invalid, "'\(name)' is no setting of a NIC; these are: mtu, mac, ring, coalesce, promiscuous.")
        }
    }

    /// `rx:256,tx:256`
    private static func pairs(
        _ text: String, _ name: String, _ keys: [String], _ range: ClosedRange<Int>
    ) throws(ControlError) -> [(String, Int)] {
        var result: [(String, Int)] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let words = part.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard words.count == 2, keys.contains(words[0]), !result.contains(where: { $0.0 == words[0] }) else {
                throw ControlError(
                    .invalid, "'\(name)' takes \(keys.map { "\($0):NUMBER" }.joined(separator: ",")), any of them, not '\(part)'.")
            }
            result.append((words[0], try number(words[1], "\(name) \(words[0])", range)))
        }
        return result
    }

    private static func number(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws(ControlError) -> Int {
        guard let number = Int(text), range.contains(number) else {
            throw ControlError(.invalid, "'\(name)' is a number from \(range.lowerBound) to \(range.upperBound), not '\(text)'.")
        }
        return number
    }

    private static func address(_ text: String) throws(ControlError) -> String {
        let parts = text.lowercased().split(separator: ":", omittingEmptySubsequences: false)
        let isAddress =
            parts.count == 6 && parts.allSatisfy { $0.utf8.count == 2 && $0.allSatisfy { $0.isASCII && $0.isHexDigit } }
        guard isAddress, let first = UInt8(parts[0], radix: 16), first & 1 == 0, parts.contains(where: { $0 != "00" }) else {
            throw ControlError(.invalid, "'mac' is the address of one station, such as 52:54:00:12:34:56, not '\(text)'.")
        }
        return parts.joined(separator: ":")
    }

    /// What has to hold of a change that came as JSON, too.
    public func check() throws(ControlError) {
        if let mtu, !(68...65535).contains(mtu) { throw ControlError(.invalid, "'mtu' is a number from 68 to 65535, not '\(mtu)'.") }
        if let mac { _ = try Self.address(mac) }
        for ring in [receiveRing, transmitRing].compactMap(\.self) where !(1...65536).contains(ring) {
            throw ControlError(.invalid, "A ring has from 1 to 65536 descriptors, not \(ring).")
        }
        let holds = [
            coalescing?.receiveMicroseconds, coalescing?.receiveFrames, coalescing?.transmitMicroseconds, coalescing?.transmitFrames,
        ]
        for number in holds.compactMap(\.self) where !(0...1_000_000).contains(number) {
            throw ControlError(.invalid, "What coalesces is a number from 0 to 1000000, not \(number).")
        }
    }
}
