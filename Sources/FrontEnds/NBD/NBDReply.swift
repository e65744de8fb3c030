/// Encodes the headers of replies. The data of a read follows its header on the wire.
public enum NBDReply {
    /// The longest header, in bytes: a structured error with its message.
    public static let maximumSize = 128

    /// The header of a successful read's reply.
    ///
    /// - Returns: its size in bytes; `length` bytes of data have to follow.
    public static func encodeRead(_ request: NBDRequest, structured: Bool, into output: inout MutableSpan<UInt8>) -> Int {
        guard structured else { return encodeSimple(error: 0, cookie: request.cookie, into: &output) }
        // One chunk for the whole read, so DF always holds.
        encodeChunk(.offsetData, cookie: request.cookie, length: request.length + 8, into: &output)
        output.store(request.offset, at: 20)
        return 28
    }

    /// The reply to a command that has no data, when it succeeded. Structured replies allow the simple one here.
    ///
    /// - Returns: its size in bytes.
    public static func encodeDone(_ request: NBDRequest, into output: inout MutableSpan<UInt8>) -> Int {
        encodeSimple(error: 0, cookie: request.cookie, into: &output)
    }

    /// The reply to BLOCK_STATUS, which only clients with structured replies send: one extent, all of it data.
    ///
    /// - Returns: its size in bytes.
    public static func encodeStatus(_ request: NBDRequest, into output: inout MutableSpan<UInt8>) -> Int {
        encodeChunk(.blockStatus, cookie: request.cookie, length: 12, into: &output)
        output.store(NBDAllocation.identifier, at: 20)
        output.store(request.length, at: 24)
        output.store(NBDAllocation.data, at: 28)
        return 32
    }

    /// An error reply; a structured one carries a message for people.
    ///
    /// - Returns: its size in bytes.
    public static func encodeError(
        _ error: NBDError, to request: NBDRequest, structured: Bool, into output: inout MutableSpan<UInt8>
    ) -> Int {
        guard structured else { return encodeSimple(error: error.rawValue, cookie: request.cookie, into: &output) }
        let message = error.message
        let count = min(message.utf8CodeUnitCount, maximumSize - 26)
        encodeChunk(.error, cookie: request.cookie, length: UInt32(6 + count), into: &output)
        output.store(error.rawValue, at: 20)
        output.store(UInt16(count), at: 24)
        message.withUTF8Buffer { text in
            // SAFETY: `count` is at most the length of `text`, whose memory is a constant of the program.
            for index in 0..<count { output[26 + index] = unsafe text[index] }
        }
        return 26 + count
    }

    /// ```
    ///  0       4       8        16
    ///  | magic | error | cookie |
    /// ```
    private static func encodeSimple(error: UInt32, cookie: UInt64, into output: inout MutableSpan<UInt8>) -> Int {
        output.store(NBDMagic.simpleReply, at: 0)
        output.store(error, at: 4)
        output.store(cookie, at: 8)
        return 16
    }

    /// ```
    ///  0       4       6      8        16       20
    ///  | magic | flags | type | cookie | length | payload
    /// ```
    private static func encodeChunk(_ type: NBDChunk, cookie: UInt64, length: UInt32, into output: inout MutableSpan<UInt8>) {
        let done: UInt16 = 1
        output.store(NBDMagic.structuredReply, at: 0)
        output.store(done, at: 4)
        output.store(type.rawValue, at: 6)
        output.store(cookie, at: 8)
        output.store(length, at: 16)
    }
}
