// Reading and writing the protocol's big-endian integers, every access bounds-checked.

extension Span where Element == UInt8 {
    /// The big-endian integer at `offset`, or nil when it is not wholly inside.
    @inline(__always)
    func bigEndian<T: FixedWidthInteger & UnsignedInteger>(at offset: Int, as _: T.Type = T.self) -> T? {
        let size = MemoryLayout<T>.size
        guard offset >= 0, count >= size, offset <= count - size else { return nil }
        var value: T = 0
        for index in offset..<(offset + size) {
            value = value << 8 | T(truncatingIfNeeded: self[index])
        }
        return value
    }

    /// The bytes from `offset`, `length` of them, as text; nil when out of bounds or not UTF-8.
    func text(at offset: Int, length: Int) -> String? {
        guard offset >= 0, length >= 0, length <= count, offset <= count - length else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length)
        for index in offset..<(offset + length) { bytes.append(self[index]) }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension Array where Element == UInt8 {
    mutating func appendBigEndian<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> T(shift)))
        }
    }
}

extension MutableSpan where Element == UInt8 {
    /// Writes a big-endian integer. The caller sizes the span: headers have fixed places.
    @inline(__always)
    mutating func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        let size = MemoryLayout<T>.size
        for index in 0..<size {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> T((size - 1 - index) * 8))
        }
    }
}
