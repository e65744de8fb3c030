import CLinux
import LinuxSystem
import VhostUser
import VirtioNet
import Virtqueue

/// From one transmit queue of the DD/OS to the host: what the wire brought.
///
/// The vnet header is copied to private memory, checked there, and only the copy is used. The packet itself the kernel takes straight from
/// guest memory: the one copy on its way.
struct Transmitter: ~Copyable {
    /// Pieces of the longest chain: Linux sends 17 to 45 fragments and two headers.
    static let mostPieces = 64
    /// Packets with one system call.
    static let batchSize = 64

    private var chain = DescriptorChain(capacity: mostPieces)
    private var batch: PacketBatch
    private var heads = [UInt16](repeating: 0, count: batchSize)
    private var lengths = [Int](repeating: 0, count: batchSize)

    init(batches: Bool) { batch = PacketBatch(capacity: Self.batchSize, vectorsPerPacket: Self.mostPieces + 1, batches: batches) }

    /// Sends one batch of what is there: how many chains were taken.
    mutating func serve(
        _ queue: Int, _ rings: inout VringSet, _ features: VirtioNetFeatures, _ tap: Int32, _ ring: inout IoUring,
        _ counters: inout PacketCounters
    ) throws(VhostUserError) -> Int {
        batch.removeAll()
        var taken = 0
        while taken < Self.batchSize, batch.hasRoom(pieces: Self.mostPieces), try rings.pop(queue, into: &chain) {
            taken += 1
            guard chain.count == chain.readableCount else { throw .bufferInvalid(queue: queue, .writable) }
            guard let bytes = prepare(features) else {
                counters.dropped += 1
                rings.giveBack(queue, head: chain.head, length: 0)
                continue
            }
            heads[batch.count] = chain.head
            lengths[batch.count] = bytes
            batch.end()
        }
        guard batch.count > 0 else { return taken }
        do { try batch.run(tap, writing: true, on: &ring) } catch { throw .system(error) }
        for packet in 0..<batch.count {
            // The kernel refuses what it does not believe (EINVAL), and everything while the interface is down (EIO).
            if batch.result(packet) > 0 {
                counters.toHostPackets += 1
                counters.toHostBytes += UInt64(lengths[packet])
            } else {
                counters.dropped += 1
            }
            rings.giveBack(queue, head: heads[packet], length: 0)
        }
        return taken
    }

    /// Puts the packet in `chain` into the batch, not ended yet: its bytes without the header. Nil: it is to be dropped.
    private mutating func prepare(_ features: VirtioNetFeatures) -> Int? {
        let total = chain.readableBytes
        guard total <= UInt64(VirtioNetHeader.byteCount + VirtioNetHeader.longestPacket) else { return nil }
        // SAFETY: twelve bytes of the batch's own memory; what is checked below is what is used.
        let place = unsafe batch.header(batch.count)
        let private12 = unsafe UnsafeMutableRawBufferPointer(start: place, count: VirtioNetHeader.byteCount)
        guard unsafe chain.copyReadable(into: private12) == VirtioNetHeader.byteCount else { return nil }
        let bytes = Int(total) - VirtioNetHeader.byteCount
        do {
            let header = try VirtioNetHeader(
                untrustedLow: unsafe UInt64(littleEndian: place.load(as: UInt64.self)),
                high: unsafe UInt32(littleEndian: place.load(fromByteOffset: 8, as: UInt32.self)), packetBytes: bytes, features: features)
            unsafe place.storeBytes(of: header.low.littleEndian, as: UInt64.self)
            unsafe place.storeBytes(of: header.high.littleEndian, toByteOffset: 8, as: UInt32.self)
        } catch { return nil }
        batch.begin()
        var skip = VirtioNetHeader.byteCount
        for index in 0..<chain.count {
            let piece = chain[index]
            let count = Int(piece.count)
            if count <= skip {
                skip -= count
                continue
            }
            // SAFETY: `skip` is less than the piece's length.
            unsafe batch.append(piece.base + skip, count - skip)
            skip = 0
        }
        return bytes
    }
}
