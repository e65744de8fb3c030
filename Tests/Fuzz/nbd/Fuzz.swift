import FrontEnds

// The NBD server's view of a client: everything is hostile, nothing is kept but counters. The first byte of the input
// chooses how the stream is cut into receives, so that every boundary is tried.

private let exports = [
    NBDExport(name: "nvme0n1", description: "fuzzed", size: 1 << 30),
    NBDExport(name: "ro", size: 1 << 20, minimumBlock: 4096, isReadOnly: true, canTrim: false),
]

@c(LLVMFuzzerTestOneInput)
public func fuzzNBD(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    // SAFETY: libFuzzer hands over `count` bytes that live as long as this call.
    let input = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    guard let cut = input.first else { return 0 }
    var client = FuzzedClient(receive: Int(cut) + 1)
    client.run(input.dropFirst())
    return 0
}

private struct FuzzedClient {
    let receive: Int
    var handshake = NBDHandshake()
    var transmission: NBDTransmission?
    var reply = [UInt8](repeating: 0, count: NBDReply.maximumSize)

    init(receive: Int) { self.receive = receive }

    mutating func run(_ input: ArraySlice<UInt8>) {
        var rest = input
        var buffer: [UInt8] = []
        var output: [UInt8] = []
        while !rest.isEmpty {
            buffer += rest.prefix(receive)
            rest = rest.dropFirst(receive)
            precondition(buffer.count <= NBDHandshake.requiredBuffer + receive, "the machines keep a bounded backlog")
            if transmission == nil {
                let (consumed, step) = handshake.consume(buffer.span, exports: exports, output: &output)
                buffer.removeFirst(consumed)
                switch step {
                case .needsInput: continue
                case .close: return
                case .transmission(let export, let structured):
                    transmission = NBDTransmission(
                        export: exports[export], structuredReplies: structured, allocation: handshake.allocationExport == export)
                }
            }
            var position = 0
            if !serve(buffer, &position) { return }
            buffer.removeFirst(position)
        }
    }

    private mutating func serve(_ buffer: [UInt8], _ position: inout Int) -> Bool {
        while true {
            let taken = transmission?.take(buffer.count - position) ?? 0
            position += taken
            if let payload = transmission?.payload, payload > 0 { return true }
            let structured = transmission?.structuredReplies ?? false
            switch transmission?.next(buffer.span, at: &position) {
            case .needsInput, nil:
                return true
            case .disconnect, .broken:
                return false
            case .refused(let request, let error):
                var span = reply.mutableSpan
                precondition(NBDReply.encodeError(error, to: request, structured: structured, into: &span) <= NBDReply.maximumSize)
            case .request(let request, let command):
                check(request, command)
                let mayAsk = structured && transmission?.allocation == true
                precondition(command != .blockStatus || mayAsk, "clients without structured replies cannot ask")
                var span = reply.mutableSpan
                if command == .blockStatus { _ = NBDReply.encodeStatus(request, into: &span) }
                _ = NBDReply.encodeRead(request, structured: structured, into: &span)
            }
        }
    }

    /// What the socket part relies on without looking again.
    private func check(_ request: NBDRequest, _ command: NBDCommand) {
        guard let export = transmission?.export, command != .flush else { return }
        precondition(request.length > 0)
        precondition(request.offset % UInt64(export.minimumBlock) == 0 && request.length % export.minimumBlock == 0)
        precondition(request.offset + UInt64(request.length) <= export.size)
        if command == .read || command == .write { precondition(request.length <= export.maximumPayload) }
        if command != .read, command != .blockStatus { precondition(!export.isReadOnly) }
    }
}
