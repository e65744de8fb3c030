/// The eight bytes in front of every message ("Common Message Format").
public struct MessageHeader: Equatable, Sendable {
    public static let byteCount = 8

    /// `type` bit 0.
    public var isResponse: Bool
    /// `type` bit 1: a bus message rather than a transport message.
    public var isBus: Bool
    /// `msg_id`.
    public var id: UInt8
    /// `dev_num`; zero on bus messages.
    public var device: UInt16
    /// `token`: echoed by a response; zero on events.
    public var token: UInt16
    /// `msg_size`: header and payload together, in bytes.
    public var size: UInt16

    public init(isResponse: Bool, isBus: Bool, id: UInt8, device: UInt16, token: UInt16, size: UInt16) {
        self.isResponse = isResponse
        self.isBus = isBus
        self.id = id
        self.device = device
        self.token = token
        self.size = size
    }

    /// Reads and checks the header at the start of `bytes`, which may end before the message does.
    public init(untrusted bytes: Span<UInt8>) throws(MessageError) {
        guard bytes.count >= Self.byteCount else { throw .truncated }
        self.init(
            isResponse: bytes[0] & 1 != 0, isBus: bytes[0] & 2 != 0, id: bytes[1], device: bytes.u16(at: 2),
            token: bytes.u16(at: 4), size: bytes.u16(at: 6))
        guard Int(size) >= Self.byteCount else { throw .headerSize(size) }
        guard Int(size) <= VirtioMessageLimits.maximumMessageSize else { throw .tooLarge(size) }
    }

    /// The payload's length in bytes.
    public var payloadSize: Int { Int(size) - Self.byteCount }

    func wrongSize() -> MessageError { .payloadSize(isBus: isBus, id: id, bytes: size) }
    func invalid() -> MessageError { .invalidField(isBus: isBus, id: id) }
    func unknown() -> MessageError { .unknownMessage(isBus: isBus, isResponse: isResponse, id: id) }
}

// Little-endian fields. The callers have checked the length; the span's own bounds check is the second fence.
extension Span<UInt8> {
    func u16(at offset: Int) -> UInt16 { UInt16(self[offset]) | UInt16(self[offset + 1]) << 8 }
    func u32(at offset: Int) -> UInt32 { UInt32(u16(at: offset)) | UInt32(u16(at: offset + 2)) << 16 }
    func u64(at offset: Int) -> UInt64 { UInt64(u32(at: offset)) | UInt64(u32(at: offset + 4)) << 32 }
}
