internal import ClientStub

/// Reads and writes that are longer than the disk takes at once. How much that is depends on the DD/OS's pool; what clients are told
/// does not, because they are told once and the pool may be smaller in the next life.
///
/// The client's data is in private memory (``LongBuffers``). Its pieces go through buffers of the service, one after the other: then one
/// long request takes no more of the pool than a short one.
extension NBDServer where Service: ~Copyable {
    /// For each export the longest piece, in bytes: whole blocks.
    static func pieceLimits(_ service: borrowing Service) -> [UInt32] {
        service.exports.map { disk in
            let longest = min(UInt64(disk.maxRequestBytes), UInt64(service.bufferLimit))
            return max(UInt32(longest) / disk.blockSize, 1) * disk.blockSize
        }
    }

    /// Where a request's data is received or sent from.
    @inline(__always)
    func data(of index: UInt32, service: borrowing Service) -> UnsafeMutableRawBufferPointer? {
        let long = pending[index].long
        if long != LongBuffers.none { return unsafe longBuffers[long] }
        guard let buffer = pending[index].buffer else { return nil }
        return unsafe service.pointer(of: buffer)
    }

    /// Starts the next piece; without a buffer for it the request is among ``starving``.
    mutating func submitPart(_ index: UInt32, service: inout Service) {
        let request = pending[index].request
        let asked = pending[index].asked
        let export = connections[Int(pending[index].client)].export
        let length = min(request.length - asked, pieceLimits[export])
        guard let buffer = service.allocate(bytes: Int(length)) else {
            starving.append(index)
            nextDeadline = min(nextDeadline, lastTick + Self.tick)
            return
        }
        let isWrite = pending[index].command == .write
        if isWrite {
            // SAFETY: the piece lies within the request's data, and the buffer has as many bytes.
            let part = unsafe UnsafeRawBufferPointer(rebasing: longBuffers[pending[index].long][Int(asked)..<Int(asked + length)])
            unsafe service.pointer(of: buffer).copyMemory(from: part)
        }
        pending[index].buffer = buffer
        pending[index].asked = asked + length
        pending[index].piece = length
        service.submit(
            export: export, operation: isWrite ? .write : .read, offset: request.offset + UInt64(asked), length: length, fua: false,
            buffer: buffer, tag: UInt64(index))
    }

    /// A piece is done, or the flush after them. True: so is the request.
    mutating func tookPart(_ index: UInt32, _ status: BlockStatus, service: inout Service) -> Bool {
        guard let buffer = pending[index].buffer else { return true }
        let (end, length) = (Int(pending[index].asked), Int(pending[index].piece))
        if status == .ok, pending[index].command == .read {
            // SAFETY: the piece lies within the request's data, and the buffer has as many bytes.
            unsafe UnsafeMutableRawBufferPointer(rebasing: longBuffers[pending[index].long][end - length..<end])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: service.pointer(of: buffer)[..<length]))
        }
        service.release(buffer)
        pending[index].buffer = nil
        guard status == .ok, pending[index].asked < pending[index].request.length else { return true }
        submitPart(index, service: &service)
        return false
    }

    /// Tries again for the pieces that found no buffer, in the order of waiting.
    mutating func feedStarving(service: inout Service) {
        let queue = starving
        starving.removeAll(keepingCapacity: true)
        for index in queue { submitPart(index, service: &service) }
    }

    /// The client is gone: what waits for a buffer is in nobody's hands.
    mutating func dropStarving(_ client: Int, service: inout Service) {
        guard !starving.isEmpty else { return }
        let dropped = starving.filter { Int(pending[$0].client) == client }
        starving.removeAll { Int(pending[$0].client) == client }
        for index in dropped { finish(index, service: &service) }
    }
}
