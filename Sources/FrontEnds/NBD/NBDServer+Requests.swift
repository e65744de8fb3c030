internal import ClientStub

extension NBDServer where Service: ~Copyable {
    /// Looks for requests that are stuck this often, in nanoseconds.
    static var tick: UInt64 { 1_000_000_000 }

    /// What the service's disks look like to clients.
    static func offered(_ service: borrowing Service, _ limits: NBDLimits) -> [NBDExport] {
        service.exports.map { disk in
            NBDExport(
                name: disk.name, description: "disk of a Drover DD/OS", size: disk.size, minimumBlock: disk.blockSize,
                preferredBlock: max(disk.preferredBlockSize, 4096),
                maximumPayload: max(limits.longestPayload / disk.blockSize, 1) * disk.blockSize, isReadOnly: disk.readOnly,
                isRotational: disk.rotational,
                // A disk without a volatile cache flushes at once; clients that insist on flushes are served as well.
                canFlush: true, canTrim: disk.canDiscard, canWriteZeroes: disk.canWriteZeroes)
        }
    }

    /// Gives a request what it needs before it can be submitted. False: there is no buffer now, so nothing more is read.
    mutating func begin(_ index: UInt32, _ client: Int, service: inout Service) -> Bool {
        let command = pending[index].command
        guard command == .read || command == .write else {
            submit(index, service: &service)
            return true
        }
        let length = Int(pending[index].request.length)
        let held = connections[client].heldBytes
        let fits = held == 0 || held + length <= limits.bytesPerClient
        guard fits, reserve(index, client, length, service: &service) else {
            connections[client].waiting = index
            // Over its own limit: goes on when its own replies are sent. Otherwise when anyone's are.
            if fits { waitForBuffers(client) }
            return false
        }
        connections[client].heldBytes += length
        if command == .write {
            connections[client].writing = index
        } else {
            submit(index, service: &service)
        }
        return true
    }

    /// Memory for a request's data, if there is any.
    private mutating func reserve(_ index: UInt32, _ client: Int, _ length: Int, service: inout Service) -> Bool {
        if length > Int(pieceLimits[connections[client].export]) {
            guard let long = longBuffers.allocate(length, limit: limits.longBytes) else { return false }
            pending[index].long = long
        } else {
            guard let buffer = service.allocate(bytes: length) else { return false }
            pending[index].buffer = buffer
        }
        return true
    }

    mutating func retryWaiting(_ client: Int, service: inout Service) -> Bool {
        let index = connections[client].waiting
        connections[client].waiting = NBDConnection.none
        return begin(index, client, service: &service)
    }

    private mutating func waitForBuffers(_ client: Int) {
        if !waiting.contains(client) { waiting.append(client) }
        // Somebody waits: watch out for clients that hold buffers and do nothing.
        nextDeadline = min(nextDeadline, lastTick + Self.tick)
    }

    /// Hands a request to the service. What is longer than the disk takes goes in pieces, one after the other.
    mutating func submit(_ index: UInt32, service: inout Service) {
        if pending[index].long != LongBuffers.none { return submitPart(index, service: &service) }
        let request = pending[index].request
        let export = connections[Int(pending[index].client)].export
        let fua = request.flags.contains(.fua)
        switch pending[index].command {
        case .read:
            service.submit(
                export: export, operation: .read, offset: request.offset, length: request.length, fua: false,
                buffer: pending[index].buffer, tag: UInt64(index))
        case .write:
            service.submit(
                export: export, operation: .write, offset: request.offset, length: request.length, fua: fua,
                buffer: pending[index].buffer, tag: UInt64(index))
        case .flush, .disconnect:
            service.submit(export: export, operation: .flush, offset: 0, length: 0, fua: false, buffer: nil, tag: UInt64(index))
        case .blockStatus:
            // Nobody has to be asked.
            unsafe reply(index, Int(pending[index].client), data: nil) { NBDReply.encodeStatus(request, into: &$0) }
        case .trim:
            submitPiece(index, export, .discard, largest: service.exports[export].maxDiscardBytes, service: &service)
        case .writeZeroes:
            submitPiece(index, export, .writeZeroes, largest: service.exports[export].maxWriteZeroesBytes, service: &service)
        }
    }

    private mutating func submitPiece(
        _ index: UInt32, _ export: Int, _ operation: BlockOperation, largest: UInt32, service: inout Service
    ) {
        let request = pending[index].request
        let asked = pending[index].asked
        // Pieces of whole blocks: the request is, and the disk's limit is rounded down to them.
        let block = max(1, service.exports[export].blockSize)
        let length = min(request.length - asked, max(largest / block, 1) * block)
        pending[index].asked = asked + length
        service.submit(
            export: export, operation: operation, offset: request.offset + UInt64(asked), length: length, fua: false, buffer: nil,
            tag: UInt64(index))
    }

    /// The service is done with a request, or with a piece of it.
    mutating func completed(_ index: UInt32, _ status: BlockStatus, service: inout Service) {
        let client = Int(pending[index].client)
        guard connections[client].phase != .closing else {
            finish(index, service: &service)
            return finishClosing(client)
        }
        let isLong = pending[index].long != LongBuffers.none
        if isLong, !tookPart(index, status, service: &service) { return }
        guard status == .ok else { return refuse(index, NBDError(status)) }
        let request = pending[index].request
        switch pending[index].command {
        case .read:
            guard let whole = unsafe data(of: index, service: service) else { return refuse(index, .io) }
            let structured = connections[client].structuredReplies
            // SAFETY: the memory stays where it is until it is released, after the send.
            let data = unsafe UnsafeMutableRawBufferPointer(rebasing: whole[..<Int(request.length)])
            unsafe reply(index, client, data: data) { NBDReply.encodeRead(request, structured: structured, into: &$0) }
        case .trim, .writeZeroes:
            if pending[index].asked < request.length { return submit(index, service: &service) }
            if request.flags.contains(.fua) && !pending[index].flushing { return flushPieces(index, client, service: &service) }
            unsafe reply(index, client, data: nil) { NBDReply.encodeDone(request, into: &$0) }
        case .write where isLong && request.flags.contains(.fua) && !pending[index].flushing:
            flushPieces(index, client, service: &service)
        case .write, .flush, .disconnect, .blockStatus:
            unsafe reply(index, client, data: nil) { NBDReply.encodeDone(request, into: &$0) }
        }
    }

    /// The flush that a request in pieces with FUA ends with.
    private mutating func flushPieces(_ index: UInt32, _ client: Int, service: inout Service) {
        pending[index].flushing = true
        let export = connections[client].export
        service.submit(export: export, operation: .flush, offset: 0, length: 0, fua: false, buffer: nil, tag: UInt64(index))
    }

    /// Forgets a request and frees its memory: its reply is sent, or nobody wants it.
    mutating func finish(_ index: UInt32, service: inout Service) {
        let client = Int(pending[index].client)
        let (buffer, long) = (pending[index].buffer, pending[index].long)
        if let buffer { service.release(buffer) }
        if long != LongBuffers.none {
            longBuffers.release(long)
            isLongMemoryFreed = true
        }
        if buffer != nil || long != LongBuffers.none { connections[client].heldBytes -= Int(pending[index].request.length) }
        connections[client].requests -= 1
        pending.remove(index)
    }
}

extension NBDError {
    init(_ status: BlockStatus) {
        self =
            switch status {
            case .ok, .ioError: .io
            case .unsupported: .notSupported
            case .invalid: .invalid
            case .readOnly: .notPermitted
            case .shuttingDown: .shutdown
            }
    }
}
