/// The answer to a control command: `ack`, and what belongs to it.
public enum NetControlAnswer: Equatable, Sendable {
    /// VIRTIO_NET_OK, with the result that the command has (for most: none).
    case done(result: [UInt8])
    /// VIRTIO_NET_ERR: an errno of the DD/OS's kernel, and what that kernel said about it, if anything.
    case refused(code: UInt32, reason: String)

    /// The longest reason, in bytes.
    public static let reasonBytes = 160
    /// The longest result, in bytes: what fits one message.
    public static let resultBytes = 4080

    /// Decodes ack and result. Of the reason only printable ASCII is kept: it is shown to people.
    public init(untrusted bytes: Span<UInt8>) throws(NetControlError) {
        guard bytes.count >= 1, bytes.count <= 1 + Self.resultBytes else { throw .wrongSize }
        switch bytes[0] {
        case 0:
            var result: [UInt8] = []
            result.reserveCapacity(bytes.count - 1)
            for index in 1..<bytes.count { result.append(bytes[index]) }
            self = .done(result: result)
        case 1:
            guard bytes.count >= 5, bytes.count <= 5 + Self.reasonBytes else { throw .wrongSize }
            self = .refused(code: bytes.number(at: 1), reason: bytes.text(at: 5, bytes.count - 5))
        default: throw .invalid
        }
    }

    /// Ack and result.
    public func encoded() -> [UInt8] {
        switch self {
        case .done(let result):
            precondition(result.count <= Self.resultBytes)
            // Not `[0] + result`: in the guest (Embedded Swift 6.3, -Osize) that literal shares its storage with the `[1]` below.
            var bytes: [UInt8] = []
            bytes.reserveCapacity(1 + result.count)
            bytes.append(0)
            for byte in result { bytes.append(byte) }
            return bytes
        case .refused(let code, let reason):
            var bytes: [UInt8] = []
            bytes.append(1)
            bytes.put32(code)
            for byte in reason.utf8.prefix(Self.reasonBytes) where byte >= 32 && byte < 127 { bytes.append(byte) }
            return bytes
        }
    }
}

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
            counters.append(Counter(name: bytes.field(at: offset, 32), value: value))
        }
    }

    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.put32(total)
        bytes.put32(first)
        for counter in counters {
            bytes.putText(counter.name, 32)
            bytes.put32(UInt32(truncatingIfNeeded: counter.value))
            bytes.put32(UInt32(truncatingIfNeeded: counter.value >> 32))
        }
        return bytes
    }
}

extension Span<UInt8> {
    /// The text in a field of `count` bytes, the last of which is a zero whatever it says.
    func field(at offset: Int, _ count: Int) -> String { text(at: offset, count - 1) }

    /// Printable ASCII in `count` bytes, up to the first zero.
    func text(at offset: Int, _ count: Int) -> String {
        var text: [UInt8] = []
        for index in offset..<offset + count {
            if self[index] == 0 { break }
            if self[index] >= 32, self[index] < 127 { text.append(self[index]) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
