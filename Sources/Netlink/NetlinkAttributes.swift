// struct nlattr (linux/netlink.h), in the machine's byte order; each starts at a multiple of four:
//
//      0        2        4
//      | length | type   | payload … | padding to a multiple of 4
//
// The length counts its own four bytes and the payload, without the padding.

/// One attribute of a netlink message.
public struct NetlinkAttribute {
    /// Without the flags for nesting and byte order.
    public let type: UInt16
    /// The payload, a part of the message.
    public let payload: ArraySlice<UInt8>

    /// The payload as a number; nil if it is shorter.
    public var u8: UInt8? { payload.first }
    /// As `u8`.
    public var u16: UInt16? { payload.count >= 2 ? payload.u16(at: 0) : nil }
    /// As `u8`.
    public var u32: UInt32? { payload.count >= 4 ? payload.u32(at: 0) : nil }
    /// As `u8`.
    public var u64: UInt64? { payload.count >= 8 ? payload.u64(at: 0) : nil }
    /// The payload up to the first zero byte.
    public var text: String { String(decoding: payload.prefix { $0 != 0 }, as: UTF8.self) }
    /// The attributes that the payload consists of.
    public var nested: NetlinkAttributes { NetlinkAttributes(payload) }
}

/// The attributes of a message, one after the other. Ends at the first that claims more bytes than there are.
public struct NetlinkAttributes: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>

    /// Reads the attributes that `bytes` consist of.
    public init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    /// The next attribute; nil at the end.
    public mutating func next() -> NetlinkAttribute? {
        guard rest.count >= 4 else { return nil }
        let length = Int(rest.u16(at: 0))
        guard length >= 4, length <= rest.count else {
            rest = []
            return nil
        }
        let type = rest.u16(at: 2) & 0x3FFF
        let payload = rest.dropFirst(4).prefix(length - 4)
        rest = rest.dropFirst((length + 3) & ~3)
        return NetlinkAttribute(type: type, payload: payload)
    }

    /// The first attribute of that type.
    public func first(_ type: Int) -> NetlinkAttribute? {
        for attribute in self where Int(attribute.type) == type { return attribute }
        return nil
    }
}

// Fields in the machine's own byte order. Offsets count from the slice's start; callers have checked the length, and the
// buffer's own bounds check is the second fence.
extension ArraySlice<UInt8> {
    func u16(at offset: Int) -> UInt16 { load(offset) }
    func u32(at offset: Int) -> UInt32 { load(offset) }
    func u64(at offset: Int) -> UInt64 { load(offset) }

    private func load<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int) -> Value {
        precondition(offset >= 0 && offset <= count - MemoryLayout<Value>.size)
        // SAFETY: the bytes lie within the slice, as just checked; any bytes are a number.
        return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: Value.self) }
    }
}
