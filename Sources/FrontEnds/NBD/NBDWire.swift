// The numbers of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md). Every integer on the wire is big-endian.

/// Magic numbers that open each message.
enum NBDMagic {
    /// "NBDMAGIC", the first eight bytes that a server sends.
    static let greeting: UInt64 = 0x4e42_444d_4147_4943
    /// "IHAVEOPT", the newstyle marker of the server and the start of every option of the client.
    static let option: UInt64 = 0x4948_4156_454f_5054
    static let optionReply: UInt64 = 0x0003_e889_0455_65a9
    static let request: UInt32 = 0x2560_9513
    static let simpleReply: UInt32 = 0x6744_6698
    static let structuredReply: UInt32 = 0x668e_33ef
}

/// Flags of the handshake phase; the client's have the same bits as the server's.
struct NBDHandshakeFlags: OptionSet, Sendable {
    let rawValue: UInt32
    static let fixedNewstyle = NBDHandshakeFlags(rawValue: 1 << 0)
    static let noZeroes = NBDHandshakeFlags(rawValue: 1 << 1)
    static let known: NBDHandshakeFlags = [.fixedNewstyle, .noZeroes]
}

/// The metadata context that is offered: which parts of a disk hold data. All do, as far as this side knows: it is the device that has
/// blocks or none.
enum NBDAllocation {
    static let name = "base:allocation"
    /// Chosen here, and the same in every negotiation.
    static let identifier: UInt32 = 1
    /// Neither a hole nor known to read as zeroes.
    static let data: UInt32 = 0
}

/// What a client asks for during the handshake. Others are answered with `NBD_REP_ERR_UNSUP`.
enum NBDOption: UInt32, Sendable {
    case exportName = 1
    case abort = 2
    case list = 3
    case startTLS = 5
    case info = 6
    case go = 7
    case structuredReply = 8
    case listMetaContext = 9
    case setMetaContext = 10
    case extendedHeaders = 11
}

/// The type of an option reply; bit 31 marks an error.
enum NBDOptionReply: UInt32, Sendable {
    case acknowledge = 1
    case server = 2
    case info = 3
    case metaContext = 4
    case unsupported = 0x8000_0001
    case policy = 0x8000_0002
    case invalid = 0x8000_0003
    case unknown = 0x8000_0006
    case shutdown = 0x8000_0007
    case blockSizeRequired = 0x8000_0008
    case tooBig = 0x8000_0009
}

/// The kinds of information in an `NBD_REP_INFO`.
enum NBDInfo: UInt16, Sendable {
    case export = 0
    case name = 1
    case description = 2
    case blockSize = 3
}

/// What an export can do, as told at the end of the handshake.
struct NBDTransmissionFlags: OptionSet, Sendable {
    let rawValue: UInt16
    static let hasFlags = NBDTransmissionFlags(rawValue: 1 << 0)
    static let readOnly = NBDTransmissionFlags(rawValue: 1 << 1)
    static let sendFlush = NBDTransmissionFlags(rawValue: 1 << 2)
    static let sendFUA = NBDTransmissionFlags(rawValue: 1 << 3)
    static let rotational = NBDTransmissionFlags(rawValue: 1 << 4)
    static let sendTrim = NBDTransmissionFlags(rawValue: 1 << 5)
    static let sendWriteZeroes = NBDTransmissionFlags(rawValue: 1 << 6)
    static let sendDF = NBDTransmissionFlags(rawValue: 1 << 7)
    static let canMultiConn = NBDTransmissionFlags(rawValue: 1 << 8)
}

/// The commands of the transmission phase that this server knows.
public enum NBDCommand: UInt16, Sendable {
    case read = 0
    case write = 1
    case disconnect = 2
    case flush = 3
    case trim = 4
    case writeZeroes = 6
    case blockStatus = 7
}

/// Flags of a request.
public struct NBDCommandFlags: OptionSet, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// On stable storage before the reply.
    public static let fua = NBDCommandFlags(rawValue: 1 << 0)
    /// WRITE_ZEROES must allocate, not punch a hole.
    public static let noHole = NBDCommandFlags(rawValue: 1 << 1)
    /// The data of a read comes in one chunk.
    public static let dontFragment = NBDCommandFlags(rawValue: 1 << 2)
    /// One extent is enough of an answer to BLOCK_STATUS.
    public static let requestOne = NBDCommandFlags(rawValue: 1 << 3)
    /// WRITE_ZEROES must fail at once when it is not faster than writing. Not offered here.
    public static let fastZero = NBDCommandFlags(rawValue: 1 << 4)
}

/// Error numbers as the protocol defines them, independent of the machine's.
public enum NBDError: UInt32, Sendable {
    case notPermitted = 1
    case io = 5
    case noMemory = 12
    case invalid = 22
    case noSpace = 28
    case overflow = 75
    case notSupported = 95
    case shutdown = 108

    /// A sentence for the error chunk of a structured reply.
    public var message: StaticString {
        switch self {
        case .notPermitted: "the export is read-only"
        case .io: "the device reported an I/O error"
        case .noMemory: "no memory for this request"
        case .invalid: "the request is invalid: see the export's size, block size and offered commands"
        case .noSpace: "the request reaches past the end of the export"
        case .overflow: "the request is larger than the export's maximum block size"
        case .notSupported: "the device does not support this request"
        case .shutdown: "the server is shutting down"
        }
    }
}

/// The type of a structured reply chunk; bit 15 marks an error.
enum NBDChunk: UInt16, Sendable {
    case none = 0
    case offsetData = 1
    case blockStatus = 5
    case error = 0x8001
}
