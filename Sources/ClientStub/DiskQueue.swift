import VirtioBlock
import Virtqueue

/// One disk's virtqueue in the session's pool, and the headers and status bytes of its requests.
///
///     pool:  … | descriptors | avail ring | used ring | indirect tables | control blocks | …
///
///     control block, 64 bytes, one per request in flight, written by
///      0  virtio_blk_req header     16   client stub
///     16  range (discard, zeroes)   16   client stub
///     32  status                     1   server stub
///     40  serial number             20   server stub, once
@safe
struct DiskQueue: ~Copyable {
    static let controlBytes: UInt64 = 64
    static let rangeOffset: UInt64 = 16
    static let statusOffset: UInt64 = 32
    static let serialOffset: UInt64 = 40
    static let indirectEntries: UInt16 = 3
    /// What the status byte says before the DD/OS has written it.
    static let statusUnwritten: UInt8 = 0xFF

    let device: UInt16
    let layout: VirtqueueLayout
    private let memory: PoolMemory
    private var queue: DriverVirtqueue
    private let controls: UInt64
    /// Numbers of free control blocks: a stack.
    private var freeControls: [UInt16]
    /// Chains were added since the last ``publish()``.
    private(set) var hasUnpublished = false

    /// How many bytes of the pool a queue of this size takes; a multiple of 64.
    static func byteCount(size: UInt16) -> UInt64 {
        VirtqueueLayout.byteCount(size: size, indirectEntries: indirectEntries) + UInt64(size) * controlBytes
    }

    /// Sets up an empty queue at `start` (a multiple of 64) of the pool.
    init(device: UInt16, size: UInt16, at start: UInt64, in memory: PoolMemory, features: VirtqueueFeatures) throws(SessionEnd) {
        self.device = device
        self.memory = memory
        layout = VirtqueueLayout(size: size, at: start, indirectEntries: Self.indirectEntries)
        controls = start + VirtqueueLayout.byteCount(size: size, indirectEntries: Self.indirectEntries)
        guard controls + UInt64(size) * Self.controlBytes <= memory.count else { throw .violation("the pool is too small for its queues") }
        do { queue = try DriverVirtqueue(layout, in: memory, features: features) } catch { throw .violation(error.description) }
        freeControls = (0..<size).reversed()
    }

    var inFlight: UInt16 { queue.inFlight }
    var hasUsed: Bool { queue.hasUsed }

    /// Puts a request on the ring: its control block's number, or `nil` when the ring is full. The DD/OS sees it at the next ``publish()``.
    mutating func add(_ request: Request, flush: Bool, data: UInt64, token: UInt32) throws(SessionEnd) -> UInt16? {
        guard let control = freeControls.last else { return nil }
        let block = controls + UInt64(control) * Self.controlBytes
        let operation: VirtioBlockOperation =
            switch request.operation {
            case _ where flush: .flush
            case .read: .read
            case .write: .write
            case .flush: .flush
            case .discard: .discard
            case .writeZeroes: .writeZeroes
            }
        let sector = operation == .read || operation == .write ? request.offset / VirtioBlockHeader.sectorSize : 0
        guard let bytes = unsafe memory.bytes(at: block, count: Int(Self.controlBytes)), let base = bytes.baseAddress else {
            throw .violation("the pool is too small for its queues")
        }
        // SAFETY: 64 bytes of the pool, as just looked up.
        unsafe VirtioBlockHeader(operation, sector: sector).store(to: base)
        unsafe base.storeBytes(of: Self.statusUnwritten, toByteOffset: Int(Self.statusOffset), as: UInt8.self)

        let status = DriverBuffer.writable(block + Self.statusOffset, 1)
        var buffers: InlineArray<3, DriverBuffer> = [
            .readable(block, UInt32(VirtioBlockHeader.byteCount)), status, status,
        ]
        var count = 3
        switch operation {
        case .read:
            buffers[1] = .writable(data, request.length)
        case .write:
            buffers[1] = .readable(data, request.length)
        case .discard, .writeZeroes:
            let sectors = UInt32(truncatingIfNeeded: UInt64(request.length) / VirtioBlockHeader.sectorSize)
            let range = VirtioBlockRange(sector: request.offset / VirtioBlockHeader.sectorSize, sectorCount: sectors)
            // SAFETY: 16 bytes from byte 16 of 64.
            unsafe range.store(to: base + Int(Self.rangeOffset))
            buffers[1] = .readable(block + Self.rangeOffset, UInt32(VirtioBlockRange.byteCount))
        case .flush, .getID:
            count = 2
        }
        let added: Bool
        do { added = try queue.add(buffers.span.extracting(0..<count), token: UInt64(token)) } catch { throw .violation(error.description) }
        guard added else { return nil }
        freeControls.removeLast()
        hasUnpublished = true
        return control
    }

    /// Puts the question for the disk's serial number on an empty ring: its control block's number.
    mutating func addIdentify() throws(SessionEnd) -> UInt16 {
        guard let control = freeControls.last else { throw .violation("the queue of disk \(device) is full at once") }
        let block = controls + UInt64(control) * Self.controlBytes
        guard let bytes = unsafe memory.bytes(at: block, count: Int(Self.controlBytes)), let base = bytes.baseAddress else {
            throw .violation("the pool is too small for its queues")
        }
        // SAFETY: 64 bytes of the pool, as just looked up.
        unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
        unsafe VirtioBlockHeader(.getID).store(to: base)
        unsafe base.storeBytes(of: Self.statusUnwritten, toByteOffset: Int(Self.statusOffset), as: UInt8.self)
        let buffers: InlineArray<3, DriverBuffer> = [
            .readable(block, UInt32(VirtioBlockHeader.byteCount)),
            .writable(block + Self.serialOffset, UInt32(VirtioBlockHeader.idByteCount)), .writable(block + Self.statusOffset, 1),
        ]
        let added: Bool
        do { added = try queue.add(buffers.span, token: .max) } catch { throw .violation(error.description) }
        guard added else { throw .violation("the queue of disk \(device) is full at once") }
        freeControls.removeLast()
        hasUnpublished = true
        return control
    }

    /// The answer to ``addIdentify()``: printable ASCII, empty if the disk does not say.
    mutating func takeSerial(control: UInt16, written: UInt32) throws(SessionEnd) -> String {
        let address = controls + UInt64(control) * Self.controlBytes + Self.serialOffset
        var serial = ""
        for index in 0..<UInt64(VirtioBlockHeader.idByteCount) {
            // Each byte is loaded once.
            guard let byte = memory.load(at: address + index, as: UInt8.self), byte > 31, byte < 127 else { break }
            serial.unicodeScalars.append(Unicode.Scalar(byte))
        }
        guard try takeStatus(control: control) == .ok else { return "" }
        guard written == VirtioBlockHeader.idByteCount + 1 else { throw .violation("disk \(device) has written half a serial number") }
        return serial
    }

    /// Shows the DD/OS what was added. True: it wants a doorbell.
    mutating func publish() -> Bool {
        hasUnpublished = false
        return queue.publish()
    }

    /// The next request that came back: its token, and the bytes that were written.
    mutating func popUsed() throws(SessionEnd) -> UsedChain? {
        do { return try queue.popUsed() } catch { throw .violation("disk \(device): \(error.description)") }
    }

    /// The status of a request that came back, loaded once; its control block is free again.
    mutating func takeStatus(control: UInt16) throws(SessionEnd) -> VirtioBlockStatus {
        let address = controls + UInt64(control) * Self.controlBytes + Self.statusOffset
        guard let byte = memory.load(at: address, as: UInt8.self) else { throw .violation("a status outside of the pool") }
        freeControls.append(control)
        guard let status = VirtioBlockStatus(rawValue: byte) else { throw .violation("disk \(device): status byte \(byte) of a request") }
        return status
    }

    /// Asks for a doorbell, before sleeping. True: something is there already.
    mutating func enableNotification() -> Bool { queue.enableNotification() }

    mutating func disableNotification() { queue.disableNotification() }
}
