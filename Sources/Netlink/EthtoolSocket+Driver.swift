internal import CLinux
internal import LinuxSystem

// What has no netlink message: SIOCETHTOOL (linux/ethtool.h), on the same socket.

extension EthtoolSocket {
    /// What a driver says of itself; empty texts where it says nothing.
    public struct DriverInformation: Sendable {
        public var driver = ""
        public var version = ""
        public var firmware = ""
        /// "0000:00:10.0".
        public var bus = ""
    }

    /// ETHTOOL_GDRVINFO; nil: the interface has no driver that says anything.
    public borrowing func driverInformation(_ name: String) throws(NetlinkError) -> DriverInformation? {
        // struct ethtool_drvinfo: command, then driver, version, firmware, bus (32 bytes each), and more.
        var data = [UInt8](repeating: 0, count: MemoryLayout<ethtool_drvinfo>.size)
        guard try call("read driver", name, Int32(ETHTOOL_GDRVINFO), &data) else { return nil }
        func text(_ offset: Int) -> String { String(decoding: data[offset..<offset + 32].prefix { $0 != 0 }, as: UTF8.self) }
        return DriverInformation(driver: text(4), version: text(36), firmware: text(68), bus: text(100))
    }

    /// ETHTOOL_GPERMADDR: the address in the device's ROM; nil: the driver does not know.
    public borrowing func permanentAddress(_ name: String) throws(NetlinkError) -> MACAddress? {
        // struct ethtool_perm_addr: command, size, address.
        var data = [UInt8](repeating: 0, count: 8 + 32)
        data[4] = 32
        guard try call("read permanent address", name, Int32(ETHTOOL_GPERMADDR), &data), data[4] == 6 else { return nil }
        return MACAddress(data[8..<14]).flatMap { $0.isUnicast ? $0 : nil }
    }

    /// One of a driver's own counters.
    public struct Counter: Equatable, Sendable {
        public var name: String
        public var value: UInt64

        public static func == (left: Counter, right: Counter) -> Bool {
            left.value == right.value && left.name.utf8.elementsEqual(right.name.utf8)
        }
    }

    /// The names of the driver's counters (ETHTOOL_GSTRINGS), in their order; empty: it has none.
    public borrowing func counterNames(_ name: String) throws(NetlinkError) -> [String] {
        // struct ethtool_sset_info: command, reserved, u64 mask of sets, u32 count of each set that is there.
        var information = [UInt8](repeating: 0, count: 20)
        information[8] = 1 << UInt8(ETH_SS_STATS.rawValue)
        guard try call("count statistics", name, Int32(ETHTOOL_GSSET_INFO), &information), information[8] != 0 else { return [] }
        let count = min(Int(information[...].u32(at: 16)), Self.mostCounters)
        guard count > 0 else { return [] }
        // struct ethtool_gstrings: command, set, count, names of 32 bytes.
        var data = [UInt8](repeating: 0, count: 12 + Self.roomy(count) * 32)
        data[4] = UInt8(ETH_SS_STATS.rawValue)
        Self.put(UInt32(count), into: &data, at: 8)
        guard try call("name statistics", name, Int32(ETHTOOL_GSTRINGS), &data) else { return [] }
        let came = min(Int(data[...].u32(at: 8)), Self.roomy(count))
        return (0..<came).map { number in
            let start = 12 + number * 32
            return String(decoding: data[start..<start + 32].prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// The values of the driver's counters (ETHTOOL_GSTATS), in the order of their names. `count`: how many names there are. Fewer values,
    /// or more: the driver has other counters now, and their names have to be asked for anew.
    public borrowing func counterValues(_ name: String, count: Int) throws(NetlinkError) -> [UInt64] {
        guard count > 0, count <= Self.mostCounters else { return [] }
        // struct ethtool_stats: command, count, u64 values.
        var data = [UInt8](repeating: 0, count: 8 + Self.roomy(count) * 8)
        Self.put(UInt32(count), into: &data, at: 4)
        guard try call("read statistics", name, Int32(ETHTOOL_GSTATS), &data) else { return [] }
        let came = min(Int(data[...].u32(at: 4)), Self.roomy(count))
        return (0..<came).map { data[...].u64(at: 8 + 8 * $0) }
    }

    private static let mostCounters = 8192

    /// The kernel writes as many as the driver has at that moment, whatever it was told: room for a driver that has got some more.
    private static func roomy(_ count: Int) -> Int { 2 * count + 64 }

    private static func put(_ value: UInt32, into data: inout [UInt8], at offset: Int) {
        let value = value.littleEndian
        for shift in 0..<4 { data[offset + shift] = UInt8(truncatingIfNeeded: value >> UInt32(8 * shift)) }
    }

    /// - Returns: false: the driver has no such function.
    private borrowing func call(
        _ request: StaticString, _ name: String, _ command: Int32, _ data: inout [UInt8]
    ) throws(NetlinkError) -> Bool {
        Self.put(UInt32(bitPattern: command), into: &data, at: 0)
        let descriptor = socket.descriptor.rawValue
        // SAFETY: the array outlives the call, and each caller made it as long as the command's struct and its own counts say.
        let result = unsafe data.withUnsafeMutableBytes { data in
            unsafe name.withCString { unsafe clinux_ethtool(descriptor, $0, data.baseAddress) }
        }
        if result >= 0 { return true }
        let code = clinux_errno()
        if code == EOPNOTSUPP { return false }
        throw NetlinkError(code: code, request: request)
    }
}
