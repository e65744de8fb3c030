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
            // SAFETY: the bytes are copied within the closure.
            unsafe bytes.withUnsafeBytes { unsafe result.append(contentsOf: $0.dropFirst()) }
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
            bytes.append(contentsOf: result)
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
