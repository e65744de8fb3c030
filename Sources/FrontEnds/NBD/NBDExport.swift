/// A disk as NBD clients see it: what the handshake tells them, and what their requests are checked against.
public struct NBDExport: Sendable, Equatable {
    public var name: String
    /// One line for people, shown by `nbdinfo --list`.
    public var description: String
    /// Bytes.
    public var size: UInt64
    /// The smallest unit of offset and length, in bytes; a power of two, at most 64 KiB.
    public var minimumBlock: UInt32
    /// The unit that is cheapest, in bytes; a power of two, at least ``minimumBlock``.
    public var preferredBlock: UInt32
    /// The longest read or write, in bytes; a multiple of ``minimumBlock``.
    public var maximumPayload: UInt32
    public var isReadOnly: Bool
    public var isRotational: Bool
    public var canFlush: Bool
    public var canTrim: Bool
    public var canWriteZeroes: Bool

    public init(
        name: String, description: String = "", size: UInt64, minimumBlock: UInt32 = 512, preferredBlock: UInt32 = 4096,
        maximumPayload: UInt32 = 1 << 20, isReadOnly: Bool = false, isRotational: Bool = false, canFlush: Bool = true,
        canTrim: Bool = true, canWriteZeroes: Bool = true
    ) {
        self.name = name
        self.description = description
        self.size = size
        self.minimumBlock = minimumBlock
        self.preferredBlock = max(preferredBlock, minimumBlock)
        self.maximumPayload = maximumPayload
        self.isReadOnly = isReadOnly
        self.isRotational = isRotational
        self.canFlush = canFlush
        self.canTrim = canTrim
        self.canWriteZeroes = canWriteZeroes
    }

    /// `structured`: the client negotiated structured replies; only then may DF be offered.
    func transmissionFlags(structured: Bool) -> NBDTransmissionFlags {
        // Every connection ends in the same device queue, so a flush on one covers the writes acknowledged on all.
        var flags: NBDTransmissionFlags = [.hasFlags, .canMultiConn]
        if isReadOnly { flags.insert(.readOnly) }
        if isRotational { flags.insert(.rotational) }
        if canFlush { flags.formUnion([.sendFlush, .sendFUA]) }
        if canTrim && !isReadOnly { flags.insert(.sendTrim) }
        if canWriteZeroes && !isReadOnly { flags.insert(.sendWriteZeroes) }
        if structured { flags.insert(.sendDF) }
        return flags
    }
}
