internal import CLinux
internal import LinuxSystem
internal import VirtioBlock
internal import VirtioMessage
internal import Virtqueue

extension StubServer {
    /// Begins the request in `chain`.
    mutating func begin(_ device: Int, _ queue: Int) throws(SystemError) {
        guard let status = unsafe statusPlace() else {
            // Nowhere to say how it ended (virtio 1.2, 5.2.6.1 wants the byte): the driver is broken.
            breakQueue(device, queue, "a request without a status byte")
            return
        }
        let description = bus.devices[device].disk.description
        var request = BlockRequest()
        request.device = device
        request.queue = queue
        request.head = chain.head
        unsafe request.status = status
        bus.devices[device].queues[queue].inFlight += 1
        let command = BlockCommand(chain, bounds: bus.devices[device].bounds)
        switch command {
        case .refuse(let reason):
            complete(request, reason)
        case .identify:
            let isDone = identify(description, &request)
            complete(request, isDone ? .ok : .ioError)
        case .read(let offset, let length), .write(let offset, let length):
            request.offset = offset
            request.remaining = length
            if case .read = command {
                request.work = .read
                request.written = UInt32(clamping: length + 1)
            } else {
                request.work = .write
            }
            try start(request, transfer: length)
        case .flush:
            request.work = .flush
            try start(request, transfer: 0)
        case .discard(let offset, let length):
            request.offset = offset
            request.remaining = length
            request.work = .discard
            if description.isBlockDevice, !description.hasFastZeroes, length > 0 {
                finishDiscard(request)
                return
            }
            try start(request, transfer: 0)
        case .writeZeroes(let offset, let length, let unmap):
            request.offset = offset
            request.remaining = length
            // 0x11: zero range, keep size; 0x03: punch hole, which reads as zeroes. One of them is there nearly always.
            request.work = unmap ? .allocate(mode: 0x03, otherwise: 0x11) : .allocate(mode: 0x11, otherwise: 0x03)
            try start(request, transfer: 0)
        }
    }

    /// The last byte of the writable part; nil if there is none.
    private func statusPlace() -> UnsafeMutableRawPointer? {
        var index = chain.count
        while index > chain.readableCount {
            index -= 1
            let segment = chain[index]
            // SAFETY: the last byte of a segment that is not empty.
            if segment.count > 0 { return unsafe segment.base + Int(segment.count - 1) }
        }
        return nil
    }

    /// Writes the disk's serial number into the request's data (VIRTIO_BLK_T_GET_ID).
    private func identify(_ disk: DiskDescription, _ request: inout BlockRequest) -> Bool {
        let room = min(chain.writableBytes - 1, UInt64(VirtioBlockHeader.idByteCount))
        var bytes = [UInt8](repeating: 0, count: VirtioBlockHeader.idByteCount)
        for (index, byte) in disk.serial.utf8.prefix(VirtioBlockHeader.idByteCount).enumerated() { bytes[index] = byte }
        bytes.removeLast(bytes.count - Int(room))
        // SAFETY: the bytes are private; the chain checks its own room.
        let copied = unsafe bytes.withUnsafeBytes { unsafe chain.copyWritable(from: $0) }
        request.written = UInt32(clamping: chain.writableBytes)
        return copied == bytes.count
    }

    private mutating func start(_ request: BlockRequest, transfer: UInt64) throws(SystemError) {
        var isEmpty = false
        switch request.work {
        case .flush: break
        default: isEmpty = request.remaining == 0
        }
        if isEmpty {
            complete(request, .ok)
            return
        }
        guard let slot = requests.take(request) else { preconditionFailure("takeRequests looked for a free slot") }
        if transfer > 0 {
            let isWrite = if case .write = request.work { true } else { false }
            let fits = requests.setVectors(
                slot, chain, readable: isWrite, skip: isWrite ? VirtioBlockHeader.byteCount : 0, length: transfer)
            guard fits else {
                requests.release(slot)
                complete(request, .ioError)
                return
            }
        }
        try submit(slot)
    }

    /// Pushes what is left of a request.
    private mutating func submit(_ slot: Int) throws(SystemError) {
        let request = requests[slot]
        let file = bus.devices[request.device].disk.descriptor.rawValue
        let tag = CompletionKind.request | UInt64(slot)
        switch request.work {
        case .flush:
            try ring.push(.sync(file, dataOnly: true), userData: tag)
        case .allocate(let mode, _):
            try ring.push(.allocate(file, mode: mode, offset: request.offset, length: request.remaining), userData: tag)
        case .discard:
            // 0x03, punch hole and keep size: the device gives the blocks up, and they read as zeroes.
            try ring.push(.allocate(file, mode: 0x03, offset: request.offset, length: request.remaining), userData: tag)
        case .read, .write:
            let isRead = if case .read = request.work { true } else { false }
            let vectors = unsafe requests.pendingVectors(slot)
            // SAFETY: the vectors point into the pool, which stays mapped until `drain` has seen every completion, and the slot's
            // vectors stay as they are until then.
            if bus.devices[request.device].disk.isBuffered {
                // The kernel hands buffered I/O on a regular file to a worker thread: two switches for what is a copy. The copy itself
                // is shorter, and nothing else waits for this thread meanwhile but requests that would have to wait for the same.
                let first = unsafe UnsafePointer(vectors.baseAddress.unsafelyUnwrapped)
                let result =
                    unsafe isRead
                    ? preadv(file, first, Int32(vectors.count), off_t(request.offset))
                    : pwritev(file, first, Int32(vectors.count), off_t(request.offset))
                finishRequest(slot, result >= 0 ? Int32(clamping: result) : -clinux_errno())
            } else if vectors.count == 1, hasFixedBuffers {
                let buffer = unsafe UnsafeMutableRawBufferPointer(start: vectors[0].iov_base, count: vectors[0].iov_len)
                try ring.push(
                    isRead
                        ? unsafe .readFixed(file, into: buffer, at: request.offset, bufferIndex: 0)
                        : unsafe .writeFixed(file, from: UnsafeRawBufferPointer(buffer), at: request.offset, bufferIndex: 0),
                    userData: tag)
            } else {
                let first = unsafe UnsafePointer(vectors.baseAddress.unsafelyUnwrapped)
                try ring.push(
                    isRead
                        ? unsafe .readVectors(file, first, count: vectors.count, at: request.offset)
                        : unsafe .writeVectors(file, first, count: vectors.count, at: request.offset),
                    userData: tag)
            }
        }
    }

    /// An operation of a request has completed: the request ends, or goes on with what is left.
    mutating func finishRequest(_ slot: Int, _ result: Int32) {
        var request = requests[slot]
        var status = VirtioBlockStatus.ok
        switch request.work {
        case .read, .write:
            if result > 0, UInt64(result) < request.remaining {
                requests.advance(slot, by: UInt64(result))
                resubmit(slot)
                return
            }
            if result == -EAGAIN || result == -EINTR {
                resubmit(slot)
                return
            }
            if result <= 0 || UInt64(result) > request.remaining { status = .ioError }
        case .flush:
            if result < 0 { status = .ioError }
        case .discard:
            if result == -EOPNOTSUPP, bus.devices[request.device].disk.description.isBlockDevice {
                requests.release(slot)
                finishDiscard(request)
                return
            }
            if result < 0 { status = result == -EOPNOTSUPP ? .unsupported : .ioError }
        case .allocate(_, let otherwise):
            if result == -EOPNOTSUPP || result == -ENODEV {
                if otherwise != 0 {
                    request.work = .allocate(mode: otherwise, otherwise: 0)
                    requests[slot] = request
                    resubmit(slot)
                    return
                }
                status = .unsupported
            } else if result < 0 {
                status = .ioError
            }
        }
        requests.release(slot)
        if status != .ok { complain("disk " + bus.devices[request.device].disk.description.name + ": errno " + decimal(-Int(result))) }
        complete(request, status)
    }

    /// Discards with the ioctl, for devices that cannot zero what they give up. io_uring has no such operation before kernel 6.12,
    /// so this thread waits for it; the configuration space keeps such discards short.
    private mutating func finishDiscard(_ request: BlockRequest) {
        hasBlocked = true
        do throws(SystemError) {
            try bus.devices[request.device].disk.descriptor.discardBlocks(offset: request.offset, length: request.remaining)
            complete(request, .ok)
        } catch {
            complain("disk " + bus.devices[request.device].disk.description.name + ": discard: " + error.description)
            complete(request, error.code == EOPNOTSUPP ? .unsupported : .ioError)
        }
    }

    private mutating func resubmit(_ slot: Int) {
        do throws(SystemError) {
            try submit(slot)
        } catch {
            let request = requests[slot]
            requests.release(slot)
            complete(request, .ioError)
        }
    }

    /// Writes the status and gives the chain back; a reset that waited for the last one is answered.
    private mutating func complete(_ request: BlockRequest, _ status: VirtioBlockStatus) {
        // SAFETY: the place was in the pool when the chain was taken, and the pool is still mapped.
        unsafe request.status?.storeBytes(of: status.rawValue, as: UInt8.self)
        bus.devices[request.device].queues[request.queue].inFlight -= 1
        bus.devices[request.device].queues[request.queue].ring?.pushUsed(head: request.head, length: request.written)
        bus.devices[request.device].queues[request.queue].hasSilentUsed = true
        if bus.devices[request.device].hasPendingReset {
            do throws(MessageError) { try bus.finishResets(request.device, outbox: &outbox) } catch {}
        }
    }
}
