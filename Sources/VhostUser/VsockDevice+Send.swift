internal import Virtqueue

// Host to guest: everything that goes into the guest's rx buffers.
extension VsockDevice {
    /// Sends what is owed and what waits, as far as there are buffers and credit. Asks for a kick when buffers are missing.
    mutating func pump(_ rings: inout VringSet) throws(VhostUserError) {
        while let header = resets.first {
            guard try emit(header, &rings) else { return }
            resets.removeFirst()
        }
        guard stream != nil else { return }
        if stream!.owesResponse {
            guard try emit(.response, &rings) else { return }
            stream!.owesResponse = false
        }
        while output.count > 0 {
            // SAFETY: the bytes are read before anything is added to or taken from the queue.
            let count = unsafe try sendData(output.bytes, &rings)
            if count == 0 { break }
            output.removeFirst(count)
        }
        if output.count > 0, stream!.credit == 0 { stream!.wantCredit() }
        if wasRefused, output.count <= output.capacity / 2 {
            wasRefused = false
            events.writable = true
        }
        if stream!.owesCreditUpdate {
            guard try emit(.creditUpdate, &rings) else { return }
        }
        if stream!.owesCreditRequest {
            guard try emit(.creditRequest, &rings) else { return }
            stream!.owesCreditRequest = false
        }
    }

    /// See ``VsockBackend/send(_:)``.
    mutating func send(_ bytes: UnsafeRawBufferPointer, _ rings: inout VringSet) throws(VhostUserError) -> Bool {
        guard stream != nil else { return false }
        guard bytes.count <= output.free else {
            wasRefused = true
            return false
        }
        var done = 0
        if output.count == 0, resets.isEmpty, !stream!.owesResponse {
            while done < bytes.count {
                // SAFETY: `done` is below the count.
                let count = unsafe try sendData(UnsafeRawBufferPointer(rebasing: bytes[done...]), &rings)
                if count == 0 { break }
                done += count
            }
        }
        if done < bytes.count {
            unsafe output.append(UnsafeRawBufferPointer(rebasing: bytes[done...]))
            if stream!.credit == 0 { stream!.wantCredit() }
        }
        return true
    }

    /// One packet with as much of `bytes` as fits in one guest buffer and in the credit: how many went.
    private mutating func sendData(_ bytes: UnsafeRawBufferPointer, _ rings: inout VringSet) throws(VhostUserError) -> Int {
        guard let credit = stream?.credit, credit > 0, try takeBuffer(&rings) else { return 0 }
        let room = Int(min(chain.writableBytes, UInt64(VsockHeader.longestPayload) + UInt64(VsockHeader.byteCount)))
        let count = min(bytes.count, credit, room - VsockHeader.byteCount)
        fill(header(.data, length: UInt32(count)))
        // SAFETY: `count` is at most the bytes' own count; `copyWritable` stays within the chain.
        _ = unsafe chain.copyWritable(
            from: UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: UInt64(VsockHeader.byteCount))
        rings.giveBack(Self.receiveQueue, head: chain.head, length: UInt32(VsockHeader.byteCount + count))
        stream!.countSent(count)
        stream!.announce()
        return count
    }

    /// A packet of the open stream without payload. False: no buffer.
    private mutating func emit(_ operation: VsockHeader.Operation, _ rings: inout VringSet) throws(VhostUserError) -> Bool {
        guard try emit(header(operation, length: 0), &rings) else { return false }
        stream?.announce()
        return true
    }

    private mutating func emit(_ header: VsockHeader, _ rings: inout VringSet) throws(VhostUserError) -> Bool {
        guard try takeBuffer(&rings) else { return false }
        fill(header)
        rings.giveBack(Self.receiveQueue, head: chain.head, length: UInt32(VsockHeader.byteCount))
        return true
    }

    private func header(_ operation: VsockHeader.Operation, length: UInt32) -> VsockHeader {
        VsockHeader(
            from: (VsockHeader.hostCID, settings.port), to: (settings.guestCID, stream?.port ?? 0), operation, length: length,
            bufferSize: UInt32(truncatingIfNeeded: input.capacity), forwardCount: stream?.consumed ?? 0)
    }

    /// The next rx buffer, in `chain`. False: the guest has none; it will kick when it has.
    private mutating func takeBuffer(_ rings: inout VringSet) throws(VhostUserError) -> Bool {
        if try !rings.pop(Self.receiveQueue, into: &chain) {
            guard rings.enableKicks(Self.receiveQueue), try rings.pop(Self.receiveQueue, into: &chain) else { return false }
        }
        guard chain.readableCount == 0, chain.writableBytes > UInt64(VsockHeader.byteCount) else {
            throw .packet(.receiveBufferInvalid(bytes: chain.readableCount == 0 ? chain.writableBytes : 0))
        }
        return true
    }

    /// Writes the header to the start of `chain`, built in private memory first.
    private mutating func fill(_ header: VsockHeader) {
        // SAFETY: the scratch array's own bytes, during the calls.
        unsafe scratch.withUnsafeMutableBytes { unsafe header.store(to: $0) }
        _ = unsafe scratch.withUnsafeBytes { unsafe chain.copyWritable(from: $0) }
    }
}
