internal import CLinux

// struct nlmsghdr (linux/netlink.h), in the machine's byte order:
//
//      0        4      6       8          12     16
//      | length | type | flags | sequence | port | payload …

/// A request being put together: header, the family's own struct, attributes.
public struct NetlinkRequest {
    /// The header's bytes.
    static let headerBytes = 16

    private(set) var bytes: [UInt8] = []
    /// What it asks, for errors.
    let name: StaticString
    let answer: Answer

    /// How the kernel answers what it does not refuse.
    enum Answer {
        /// A change: with an acknowledgement.
        case acknowledgement
        /// A question about one object: with one message. An acknowledgement after it would be one more to receive.
        case object
        /// A question about all objects of a kind: with several, and an end.
        case dump
    }

    /// - Parameter flags: NLM_F_… beyond REQUEST, and what the answer needs.
    init(_ name: StaticString, type: Int, flags: Int32 = 0, _ answer: Answer = .acknowledgement) {
        self.name = name
        self.answer = answer
        let more =
            switch answer {
            case .acknowledgement: NLM_F_ACK
            case .object: Int32(0)
            case .dump: NLM_F_DUMP
            }
        put32(0)
        put16(UInt16(type))
        put16(UInt16(NLM_F_REQUEST | flags | more))
        put32(0)
        put32(0)
    }

    /// The finished message.
    func finished(sequence: UInt32) -> [UInt8] {
        var copy = self
        copy.set32(at: 0, UInt32(bytes.count))
        copy.set32(at: 8, sequence)
        return copy.bytes
    }

    // MARK: fixed fields

    mutating func put8(_ value: UInt8) { bytes.append(value) }

    mutating func put16(_ value: UInt16) {
        let value = value.littleEndian
        bytes.append(UInt8(truncatingIfNeeded: value))
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
    }

    mutating func put32(_ value: UInt32) {
        let value = value.littleEndian
        for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * shift))) }
    }

    private mutating func set32(at offset: Int, _ value: UInt32) {
        let value = value.littleEndian
        for shift in 0..<4 { bytes[offset + shift] = UInt8(truncatingIfNeeded: value >> UInt32(8 * shift)) }
    }

    // MARK: attributes

    mutating func attribute(_ type: Int, _ payload: [UInt8]) {
        put16(UInt16(4 + payload.count))
        put16(UInt16(type))
        bytes.append(contentsOf: payload)
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    /// A text with its final zero byte.
    mutating func attribute(_ type: Int, _ text: String) {
        attribute(type, Array(text.utf8) + [0])
    }

    mutating func attribute(_ type: Int, _ value: UInt32) {
        put16(8)
        put16(UInt16(type))
        put32(value)
    }

    mutating func attribute(_ type: Int, _ value: UInt8) { attribute(type, [value]) }

    /// An attribute whose payload is what `body` puts.
    mutating func nest(_ type: Int, isFlagged: Bool = true, _ body: (inout NetlinkRequest) -> Void) {
        let start = bytes.count
        put16(0)
        put16(UInt16(type) | (isFlagged ? 0x8000 : 0))  // NLA_F_NESTED
        body(&self)
        let length = UInt16(bytes.count - start).littleEndian
        bytes[start] = UInt8(truncatingIfNeeded: length)
        bytes[start + 1] = UInt8(truncatingIfNeeded: length >> 8)
    }
}
