import CLinux
import LinuxSystem
import VhostUser
import VirtioNet
import Virtqueue

/// From the host to one receive queue of the DD/OS: what is to go out on the wire.
///
/// A packet's size is known only when it was read, so before each read enough guest buffers for the largest are laid out; those that a packet
/// does not need stay here for the next ones.
@safe struct Receiver: ~Copyable {
    /// A guest buffer that was taken and not given back.
    private struct Buffer {
        var head: UInt16
        /// Its pieces: `pieces[first ..< first + count]`.
        var first: Int
        var count: Int
        var bytes: Int
    }

    /// How serving ended.
    enum Outcome {
        /// There may be more packets.
        case more
        /// The TAP's queue is empty.
        case empty
        /// The guest has not enough buffers.
        case starved
    }

    /// Packets with one system call.
    static let batchSize = 32
    /// Guest buffers that may be taken at a time; the longest queue.
    static let mostBuffers = 1024
    static let mostPieces = 2048
    /// Pieces of the longest chain.
    static let mostPiecesInBuffer = 64
    static let roomNeeded = VirtioNetHeader.byteCount + VirtioNetHeader.longestPacket

    private var chain = DescriptorChain(capacity: mostPiecesInBuffer)
    private var batch: PacketBatch
    private var buffers: [Buffer] = []
    private let pieces: UnsafeMutablePointer<iovec>
    private var pieceCount = 0
    private var heldBytes = 0
    /// For each packet of the batch the buffers laid out for it, and their bytes.
    private var plans = [(first: Int, count: Int, bytes: Int)](repeating: (0, 0, 0), count: batchSize)
    private var wasUsed = [Bool](repeating: false, count: mostBuffers)
    /// Packets that the next batch tries to read: as many as seem to come at a time.
    private var appetite = 4

    init(batches: Bool) {
        batch = PacketBatch(capacity: Self.batchSize, vectorsPerPacket: 160, batches: batches)
        unsafe pieces = .allocate(capacity: Self.mostPieces)
        buffers.reserveCapacity(Self.mostBuffers)
    }

    deinit { unsafe pieces.deallocate() }

    /// Reads one batch of packets into the guest's buffers.
    mutating func serve(
        _ queue: Int, _ rings: inout VringSet, _ features: VirtioNetFeatures, _ tap: Int32, _ ring: inout IoUring,
        _ counters: inout PacketCounters
    ) throws(VhostUserError) -> (packets: Int, outcome: Outcome) {
        let merges = features.contains(.mergeableBuffers)
        try gather(queue, &rings, merges: merges)
        layOut(rings.size(queue), merges: merges)
        guard batch.count > 0 else { return (0, .starved) }
        do { try batch.run(tap, writing: false, on: &ring) } catch { throw .system(error) }
        var found = 0
        var isEmpty = false
        for packet in 0..<batch.count {
            let result = Int(batch.result(packet))
            if result == -Int(EAGAIN) {
                // Not the end of the batch: a packet that came after this read is in a later one.
                isEmpty = true
                continue
            }
            // The interface was removed from the host (EBADFD): there will never be a packet.
            if result == -Int(EBADFD) { throw .system(SystemError(code: EBADFD, call: "readv")) }
            found += 1
            // Memory that cannot be written, an interface that is going away: the packet is lost, nothing else is.
            guard result >= VirtioNetHeader.byteCount + VirtioNetHeader.shortestPacket else {
                counters.dropped += 1
                continue
            }
            deliver(packet, result, queue, &rings, features, merges: merges, &counters)
        }
        compact()
        appetite = isEmpty ? max(2, min(found + 1, Self.batchSize)) : min(appetite * 2, Self.batchSize)
        return (found, isEmpty ? .empty : .more)
    }

    /// Gives everything back unused (a length of 0), because the queue stops or its memory moves.
    mutating func giveBackAll(_ queue: Int, _ rings: inout VringSet) {
        for buffer in buffers { rings.giveBack(queue, head: buffer.head, length: 0) }
        forgetAll()
    }

    private mutating func forgetAll() {
        buffers.removeAll(keepingCapacity: true)
        pieceCount = 0
        heldBytes = 0
    }

    // MARK: before the read

    /// Takes buffers until there is room for as many packets as are wanted, or the guest has no more.
    private mutating func gather(_ queue: Int, _ rings: inout VringSet, merges: Bool) throws(VhostUserError) {
        while merges ? heldBytes < appetite * Self.roomNeeded : buffers.count < appetite {
            guard buffers.count < Self.mostBuffers, pieceCount <= Self.mostPieces - Self.mostPiecesInBuffer,
                try rings.pop(queue, into: &chain)
            else { return }
            guard chain.readableCount == 0 else { throw .bufferInvalid(queue: queue, .readable) }
            guard chain.writableBytes > UInt64(VirtioNetHeader.byteCount) else { throw .bufferInvalid(queue: queue, .tooSmall) }
            let first = pieceCount
            for index in 0..<chain.count where chain[index].count > 0 {
                // SAFETY: room for the longest chain is left, as checked; the piece lies in guest memory.
                unsafe (pieces + pieceCount).initialize(to: iovec(iov_base: chain[index].base, iov_len: Int(chain[index].count)))
                pieceCount += 1
            }
            let bytes = Int(min(chain.writableBytes, UInt64(Int32.max)))
            buffers.append(Buffer(head: chain.head, first: first, count: pieceCount - first, bytes: bytes))
            heldBytes += bytes
        }
    }

    /// Fills the batch with reads, each with room for the largest packet.
    private mutating func layOut(_ queueSize: Int, merges: Bool) {
        batch.removeAll()
        var next = 0
        while batch.count < min(appetite, Self.batchSize), next < buffers.count {
            var end = next
            var room = 0
            var count = 0
            while end < buffers.count, room < Self.roomNeeded, merges || end == next, count + buffers[end].count < 159 {
                room += buffers[end].bytes
                count += buffers[end].count
                end += 1
            }
            // A guest whose whole queue holds less than the largest packet gets what fits: what does not, is dropped.
            if merges, room < Self.roomNeeded, end == buffers.count, next > 0 || pieceCount < queueSize / 2 { return }
            guard batch.hasRoom(pieces: count + 1) else { return }
            batch.begin()
            var skip = VirtioNetHeader.byteCount
            for buffer in next..<end {
                for index in buffers[buffer].first..<(buffers[buffer].first + buffers[buffer].count) {
                    // SAFETY: initialised in `gather`.
                    let piece = unsafe pieces[index]
                    if unsafe piece.iov_len <= skip {
                        unsafe skip -= piece.iov_len
                        continue
                    }
                    // SAFETY: `skip` is less than the piece's length.
                    unsafe batch.append(piece.iov_base + skip, piece.iov_len - skip)
                    skip = 0
                }
            }
            // One more byte than the buffers have, in private memory behind the header: a read that fills it too was cut off.
            // SAFETY: headers lie sixteen bytes apart, and have twelve.
            unsafe batch.append(batch.header(batch.count) + VirtioNetHeader.byteCount, 1)
            plans[batch.count] = (next, end - next, room)
            batch.end()
            next = end
        }
    }

    // MARK: after the read

    /// Gives the guest the buffers of a packet that was read: `result` bytes, its header's twelve included.
    private mutating func deliver(
        _ packet: Int, _ result: Int, _ queue: Int, _ rings: inout VringSet, _ features: VirtioNetFeatures, merges: Bool,
        _ counters: inout PacketCounters
    ) {
        let plan = plans[packet]
        // SAFETY: the batch's own twelve bytes, which the kernel has written.
        let place = unsafe batch.header(packet)
        var header = VirtioNetHeader(
            low: unsafe UInt64(littleEndian: place.load(as: UInt64.self)),
            high: unsafe UInt32(littleEndian: place.load(fromByteOffset: 8, as: UInt32.self)))
        // A read of more than its buffers was cut off. What waited since a life with more features may be too much for this one.
        guard result <= plan.bytes, header.restrict(to: features) else {
            counters.dropped += 1
            return
        }
        var used = 0
        var left = result
        while left > 0 {
            left -= buffers[plan.first + used].bytes
            used += 1
        }
        header.bufferCount = UInt16(used)
        unsafe place.storeBytes(of: header.low.littleEndian, as: UInt64.self)
        unsafe place.storeBytes(of: header.high.littleEndian, toByteOffset: 8, as: UInt32.self)
        unsafe storeHeader(place, from: buffers[plan.first].first)
        left = result
        for index in plan.first..<(plan.first + used) {
            let bytes = min(left, buffers[index].bytes)
            rings.giveBack(queue, head: buffers[index].head, length: UInt32(bytes))
            wasUsed[index] = true
            left -= bytes
        }
        counters.toGuestPackets += 1
        counters.toGuestBytes += UInt64(result - VirtioNetHeader.byteCount)
    }

    /// Writes the twelve bytes to where the packet's first buffer begins.
    private func storeHeader(_ header: UnsafeMutableRawPointer, from piece: Int) {
        var done = 0
        var index = piece
        while done < VirtioNetHeader.byteCount {
            // SAFETY: each buffer has more than twelve bytes, so its pieces do not end before the header does.
            let place = unsafe pieces[index]
            let count = unsafe min(place.iov_len, VirtioNetHeader.byteCount - done)
            unsafe place.iov_base.copyMemory(from: header + done, byteCount: count)
            done += count
            index += 1
        }
    }

    /// Moves what is left to the front.
    private mutating func compact() {
        var kept = 0
        var keptPieces = 0
        heldBytes = 0
        for index in buffers.indices {
            if wasUsed[index] {
                wasUsed[index] = false
                continue
            }
            var buffer = buffers[index]
            if buffer.first != keptPieces {
                // SAFETY: both lie within the pieces, and the target is before the source.
                unsafe (pieces + keptPieces).update(from: pieces + buffer.first, count: buffer.count)
                buffer.first = keptPieces
            }
            keptPieces += buffer.count
            heldBytes += buffer.bytes
            buffers[kept] = buffer
            kept += 1
        }
        buffers.removeLast(buffers.count - kept)
        pieceCount = keptPieces
    }
}
