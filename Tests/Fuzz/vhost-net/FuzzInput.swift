/// The fuzzer's bytes, one after the other; zeroes when there are no more.
@safe struct FuzzInput {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { unsafe self.bytes = unsafe bytes }

    var isEmpty: Bool { unsafe position >= bytes.count }

    mutating func byte() -> UInt8 {
        guard unsafe position < bytes.count else { return 0 }
        defer { position += 1 }
        return unsafe bytes[position]
    }

    mutating func word16() -> UInt16 { UInt16(byte()) | UInt16(byte()) << 8 }
    mutating func word32() -> UInt32 { UInt32(word16()) | UInt32(word16()) << 16 }
    mutating func word64() -> UInt64 { UInt64(word32()) | UInt64(word32()) << 32 }
}
