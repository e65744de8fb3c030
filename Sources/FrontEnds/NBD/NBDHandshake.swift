/// The handshake phase of the fixed newstyle negotiation, for one client: a state machine without I/O.
///
/// Feed it what was received with ``consume(_:exports:output:)``; it appends its answers to the output and says how it
/// goes on. It never keeps input: an option is acted on when it is there as a whole, and what is too long to be a
/// sensible option is skipped as it arrives, so memory per client is bounded by the caller's receive buffer.
///
/// proto.md, "Fixed newstyle negotiation" and "Option haggling".
public struct NBDHandshake: Sendable {
    /// The longest option that is looked at, in bytes. Names have at most 4096 bytes (proto.md, "Values"), so anything
    /// longer is answered with `NBD_REP_ERR_TOO_BIG`.
    public static let maximumOption = 5120
    /// The longest option that is skipped politely; beyond it the client is cut off.
    public static let maximumSkippedOption = 1 << 20
    /// Options that a client may send before it has to make up its mind. Bounds the work for a client that haggles on.
    public static let maximumOptionCount = 256
    /// The receive buffer has to hold one whole option: its header and data.
    public static let requiredBuffer = maximumOption + 16

    /// How the handshake goes on.
    public enum Step: Sendable, Equatable {
        /// More input is needed.
        case needsInput
        /// The client chose an export (its index); requests follow.
        case transmission(export: Int, structuredReplies: Bool)
        /// Send the output, then close. The reason is for the log.
        case close(Closing)
    }

    /// Why the handshake ended without an export.
    public enum Closing: Sendable, Equatable {
        case aborted
        case badMagic
        case unknownClientFlags
        case optionTooLong
        case tooManyOptions
        case noSuchExport
        /// There is nothing to choose from, and there may never be: see ``NBDHandshake/refusal``.
        case unavailable
    }

    enum State {
        case clientFlags
        case option
        /// Bytes of an overlong option that are still to come; then `option` is answered.
        case skipping(remaining: Int, option: UInt32)
    }

    var state = State.clientFlags
    var optionCount = 0
    var omitsZeroes = false
    var structuredReplies = false
    /// The export of which the client wants to know which parts hold data (the metadata context `base:allocation`).
    public internal(set) var allocationExport: Int?
    /// Why no export can be listed or chosen now; nil: they can. A client that asks for one is told, and cut off.
    public var refusal: String?

    public init() {}

    /// What the server says first.
    public static var greeting: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(NBDMagic.greeting)
        bytes.appendBigEndian(NBDMagic.option)
        bytes.appendBigEndian(UInt16(truncatingIfNeeded: NBDHandshakeFlags.known.rawValue))
        return bytes
    }

    /// Takes in received bytes.
    ///
    /// - Returns: how many bytes at the front of `input` were used up (the rest has to be given again, with more after
    ///   it), and how to go on. After ``Step/transmission(export:structuredReplies:)`` the rest of the input is requests.
    public mutating func consume(_ input: Span<UInt8>, exports: [NBDExport], output: inout [UInt8]) -> (consumed: Int, step: Step) {
        var position = 0
        while true {
            switch state {
            case .clientFlags:
                guard let raw = input.bigEndian(at: position, as: UInt32.self) else { return (position, .needsInput) }
                position += 4
                let flags = NBDHandshakeFlags(rawValue: raw)
                // "If the client sets unknown flags, the server MUST drop the connection": and without the fixed newstyle
                // nothing but EXPORT_NAME may be answered, which works the same here.
                guard flags.isSubset(of: .known) else { return (position, .close(.unknownClientFlags)) }
                omitsZeroes = flags.contains(.noZeroes)
                state = .option

            case .skipping(let remaining, let option):
                let step = min(remaining, input.count - position)
                position += step
                if step < remaining {
                    state = .skipping(remaining: remaining - step, option: option)
                    return (position, .needsInput)
                }
                reply(to: option, .tooBig, "the option is too long", output: &output)
                state = .option

            case .option:
                guard let magic = input.bigEndian(at: position, as: UInt64.self) else { return (position, .needsInput) }
                guard magic == NBDMagic.option else { return (position, .close(.badMagic)) }
                guard let option = input.bigEndian(at: position + 8, as: UInt32.self),
                    let untrustedLength = input.bigEndian(at: position + 12, as: UInt32.self)
                else { return (position, .needsInput) }
                guard untrustedLength <= Self.maximumSkippedOption else { return (position, .close(.optionTooLong)) }
                let length = Int(untrustedLength)
                if length > Self.maximumOption {
                    // EXPORT_NAME cannot be answered with an error.
                    guard option != NBDOption.exportName.rawValue else { return (position, .close(.optionTooLong)) }
                    position += 16
                    state = .skipping(remaining: length, option: option)
                    continue
                }
                guard input.count - position - 16 >= length else { return (position, .needsInput) }
                optionCount += 1
                guard optionCount <= Self.maximumOptionCount else { return (position, .close(.tooManyOptions)) }
                let data = input.extracting(position + 16..<position + 16 + length)
                position += 16 + length
                if let step = answer(option: option, data: data, exports: exports, output: &output) {
                    return (position, step)
                }
            }
        }
    }
}
