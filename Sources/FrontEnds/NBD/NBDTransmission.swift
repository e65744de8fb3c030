/// The transmission phase of one client, the receiving half: a state machine without I/O that cuts the byte stream into
/// requests and write payloads.
///
/// Call ``next(_:at:)`` on what is in the receive buffer. After an accepted write, the next ``payload`` bytes of the
/// stream are its data: take them with ``take(_:)`` as they arrive, from the buffer or straight from the socket into the place where
/// the data belongs. Nothing is kept here but counters.
public struct NBDTransmission: Sendable {
    /// What was found in the stream.
    public enum Event: Sendable, Equatable {
        case needsInput
        /// A valid request. The payload of a write follows in the stream: see ``NBDTransmission/payload``.
        case request(NBDRequest, NBDCommand)
        /// Answer with the error. Its payload, if any, is skipped here.
        case refused(NBDRequest, NBDError)
        /// The client says good-bye: finish what is in flight, then close.
        case disconnect
        /// The stream is not NBD any more: close at once.
        case broken
    }

    public let export: NBDExport
    public let structuredReplies: Bool
    /// The client may ask which parts hold data.
    public let allocation: Bool
    /// Bytes of the accepted write's data that are still to come.
    public private(set) var payload = 0
    /// Bytes of a refused write's data that are still to come.
    public private(set) var skipping = 0
    private var ended: Event?

    public init(export: NBDExport, structuredReplies: Bool, allocation: Bool = false) {
        self.export = export
        self.allocation = allocation
        self.structuredReplies = structuredReplies
    }

    /// The next thing in `input`, from `position` on, which moves behind it.
    ///
    /// Ask only when ``payload`` is zero. `.needsInput` leaves an incomplete header where it is.
    public mutating func next(_ input: Span<UInt8>, at position: inout Int) -> Event {
        if let ended { return ended }
        precondition(payload == 0, "a write's data has to be taken first")
        if skipping > 0 {
            let count = min(skipping, input.count - position)
            position += count
            skipping -= count
            if skipping > 0 { return .needsInput }
        }
        // What cannot become a request is turned away at its first bytes, not when 28 of them have come.
        guard let magic = input.bigEndian(at: position, as: UInt32.self) else { return .needsInput }
        guard magic == NBDMagic.request else { return end(.broken) }
        guard input.count - position >= NBDRequest.headerSize,
            let flags = input.bigEndian(at: position + 4, as: UInt16.self),
            let type = input.bigEndian(at: position + 6, as: UInt16.self),
            let cookie = input.bigEndian(at: position + 8, as: UInt64.self),
            let offset = input.bigEndian(at: position + 16, as: UInt64.self),
            let length = input.bigEndian(at: position + 24, as: UInt32.self)
        else { return .needsInput }
        position += NBDRequest.headerSize
        let request = NBDRequest(
            flags: NBDCommandFlags(rawValue: flags), type: type, cookie: cookie, offset: offset, length: length)

        switch request.verdict(on: export, structuredReplies: structuredReplies, allocation: allocation) {
        case .accept(.disconnect):
            return end(.disconnect)
        case .accept(let command):
            if command == .write { payload = Int(length) }
            return .request(request, command)
        case .refuse(let error):
            if type == NBDCommand.write.rawValue { skipping = Int(length) }
            return .refused(request, error)
        case .close:
            return end(.broken)
        }
    }

    /// Notes that up to `available` bytes of the write's data were moved where they belong; returns how many count.
    @discardableResult
    public mutating func take(_ available: Int) -> Int {
        let count = max(0, min(payload, available))
        payload -= count
        return count
    }

    private mutating func end(_ event: Event) -> Event {
        ended = event
        return event
    }
}
