/// A run of the driver's own counters: the result of ``NetControlCommand/statistics(first:)``.
///
///      offset  size  field
///           0     4  how many counters the driver has
///           4     4  number of the first one here
///           8  40×n  counters: name (32 bytes, zeroes at the end), u64 value
public struct NetStatisticsPage: Equatable, Sendable {
    public struct Counter: Equatable, Sendable {
        public var name: String
        public var value: UInt64

        public init(name: String, value: UInt64) {
            self.name = name
            self.value = value
        }

        public static func == (left: Counter, right: Counter) -> Bool {
            left.value == right.value && left.name.utf8.elementsEqual(right.name.utf8)
        }
    }

    /// Counters that fit one answer.
    public static let most = 100
    /// More than any driver has; who claims more is not believed.
    public static let mostInAll: UInt32 = 8192

    static let headerBytes = 8
    static let nameBytes = 32
    static let counterBytes = 40

    public var total: UInt32
    public var first: UInt32
    public var counters: [Counter]

    public init(total: UInt32, first: UInt32, counters: [Counter]) {
        self.total = total
        self.first = first
        self.counters = counters
    }

    /// Decodes a page. There are as many counters as fit between `first` and `total`, so that whoever asks for page after page
    /// comes to an end.
    public init(untrusted bytes: Span<UInt8>) throws(NetControlError) {
        guard bytes.count >= Self.headerBytes, (bytes.count - Self.headerBytes) % Self.counterBytes == 0 else { throw .wrongSize }
        let count = (bytes.count - Self.headerBytes) / Self.counterBytes
        total = bytes.number(at: 0)
        first = bytes.number(at: 4)
        guard total <= Self.mostInAll, first <= total, count == min(Int(total - first), Self.most) else { throw .invalid }
        counters = []
        for index in 0..<count {
            let offset = Self.headerBytes + index * Self.counterBytes
            let value = UInt64(bytes.number(at: offset + 32)) | UInt64(bytes.number(at: offset + 36)) << 32
            counters.append(Counter(name: bytes.field(at: offset, Self.nameBytes), value: value))
        }
    }

    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put32(total)
        bytes.put32(first)
        for counter in counters {
            bytes.putText(counter.name, Self.nameBytes)
            bytes.put32(UInt32(truncatingIfNeeded: counter.value))
            bytes.put32(UInt32(truncatingIfNeeded: counter.value >> 32))
        }
        return bytes
    }
}

/// All counters of a driver, encoded once: from one time that they are read to the next, only values change.
public struct NetStatisticsTable {
    /// One after the other, as in the pages.
    private var bytes: [UInt8] = []
    /// How many counters there are.
    public let count: Int

    /// No more than ``NetStatisticsPage/mostInAll`` of them are kept. All values are zero.
    public init(names: [String]) {
        count = min(names.count, Int(NetStatisticsPage.mostInAll))
        bytes.reserveCapacity(count * NetStatisticsPage.counterBytes)
        for name in names.prefix(count) {
            bytes.putText(name, NetStatisticsPage.nameBytes)
            for _ in 0..<8 { bytes.append(0) }
        }
    }

    /// New values for the first counters, in their order.
    public mutating func set(_ values: [UInt64]) {
        let known = min(values.count, count)
        // SAFETY: each counter has its 40 bytes, of which the last eight are its value.
        unsafe bytes.withUnsafeMutableBytes { place in
            for number in 0..<known {
                unsafe place.storeBytes(
                    of: values[number].littleEndian, toByteOffset: number * NetStatisticsPage.counterBytes + NetStatisticsPage.nameBytes,
                    as: UInt64.self)
            }
        }
    }

    /// The page that begins with the counter `first`, encoded; nil: there is no such counter.
    public func page(_ first: UInt32) -> [UInt8]? {
        guard first <= UInt32(count) else { return nil }
        let size = NetStatisticsPage.counterBytes
        let last = min(Int(first) + NetStatisticsPage.most, count)
        var page: [UInt8] = []
        page.reserveCapacity(NetStatisticsPage.headerBytes + (last - Int(first)) * size)
        page.put32(UInt32(count))
        page.put32(first)
        page.append(contentsOf: bytes[Int(first) * size..<last * size])
        return page
    }
}
