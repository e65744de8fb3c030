/// The 28-byte header of a request in the transmission phase.
/// ```
///  0       4       6      8        16       24       28
///  | magic | flags | type | cookie | offset | length |
/// ```
public struct NBDRequest: Sendable, Equatable {
    public static let headerSize = 28

    public var flags: NBDCommandFlags
    /// As received: perhaps none of ``NBDCommand``.
    public var untrustedType: UInt16
    /// Chosen by the client and given back in the reply; never looked at.
    public var cookie: UInt64
    /// Bytes.
    public var offset: UInt64
    /// Bytes.
    public var length: UInt32

    public init(flags: NBDCommandFlags = [], type: UInt16, cookie: UInt64, offset: UInt64, length: UInt32) {
        self.flags = flags
        self.untrustedType = type
        self.cookie = cookie
        self.offset = offset
        self.length = length
    }

    /// What becomes of a request.
    public enum Verdict: Sendable, Equatable {
        /// Valid: the command can go to the device.
        case accept(NBDCommand)
        /// Answer with this error; the payload of a write has to be skipped first.
        case refuse(NBDError)
        /// Not worth an answer: close the connection.
        case close
    }

    /// A write longer than this is not skipped: the client is cut off. Twice the 32 MiB that any client may send
    /// without having asked for the export's limits.
    public static let maximumSkippedPayload: UInt32 = 64 << 20

    /// Checks everything about a request before it goes anywhere; nothing behind this function checks again. `allocation`: the client
    /// has chosen the metadata context `base:allocation`.
    ///
    /// proto.md, "Request types", "Command flags", "Block size constraints", "Error values".
    public func verdict(on export: NBDExport, structuredReplies: Bool, allocation: Bool = false) -> Verdict {
        guard let command = NBDCommand(rawValue: untrustedType) else { return .refuse(.invalid) }

        var allowed: NBDCommandFlags = export.canFlush ? .fua : []
        switch command {
        case .disconnect:
            return .accept(.disconnect)
        case .read:
            if structuredReplies { allowed.insert(.dontFragment) }
        case .write:
            if length > Self.maximumSkippedPayload { return .close }
        case .writeZeroes:
            allowed.insert(.noHole)
        case .blockStatus:
            allowed.insert(.requestOne)
        case .flush, .trim:
            break
        }
        guard flags.isSubset(of: allowed) else { return .refuse(.invalid) }

        switch command {
        case .write, .trim, .writeZeroes:
            if export.isReadOnly { return .refuse(.notPermitted) }
        case .read, .flush, .disconnect, .blockStatus:
            break
        }
        switch command {
        case .flush:
            return export.canFlush && offset == 0 && length == 0 ? .accept(.flush) : .refuse(.invalid)
        case .trim:
            guard export.canTrim else { return .refuse(.invalid) }
        case .writeZeroes:
            guard export.canWriteZeroes else { return .refuse(.invalid) }
        case .read, .write:
            guard length <= export.maximumPayload else { return .refuse(.overflow) }
        case .blockStatus:
            guard allocation else { return .refuse(.invalid) }
        case .disconnect:
            break
        }

        guard length > 0 else { return .refuse(.invalid) }
        let mask = UInt64(export.minimumBlock) - 1
        guard offset & mask == 0, UInt64(length) & mask == 0 else { return .refuse(.invalid) }
        guard offset <= export.size, UInt64(length) <= export.size - offset else {
            return .refuse(command == .write || command == .writeZeroes ? .noSpace : .invalid)
        }
        return .accept(command)
    }
}
