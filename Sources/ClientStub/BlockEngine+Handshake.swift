import VirtioBlock
public import VirtioMessage
import Virtqueue

extension BlockEngine {
    /// The largest request that a pool of this size is good for: a power of two, of which eight would fit, but not less than 64 KiB.
    private func largestRequest(in pool: UInt64) -> UInt32 {
        let share = max(pool / 8, 64 << 10)
        let rounded = UInt64(1) << UInt64(63 - share.leadingZeroBitCount)
        return UInt32(min(rounded, UInt64(configuration.maximumRequestBytes)))
    }

    /// The smallest share of a pool that data must have, in bytes: four of the largest requests.
    private func smallestData(in pool: UInt64) -> UInt64 { 4 * UInt64(largestRequest(in: pool)) }

    /// The pool is mapped: the first message of a DD/OS. What follows is virtio 1.2, 3.1 (device initialization), for
    /// one disk after the other.
    public mutating func poolArrived(_ region: consuming PoolRegion, _ outbox: inout MessageOutbox, now: UInt64) throws(SessionEnd) {
        self.now = now
        guard handshake?.step == .awaitingPool else { throw .violation("a second pool") }
        liveness.begin(at: now)
        handshake?.poolBytes = region.memory.count
        pendingRegion = consume region
        try ask(.devices, &outbox) { outbox throws(MessageError) in try outbox.getDevices(offset: 0, count: 64) }
    }

    /// Takes the answer to the request that is out, and sends the next.
    mutating func advance(
        _ message: DeviceMessage, _ header: MessageHeader, _ bytes: Span<UInt8>, _ outbox: inout MessageOutbox
    ) throws(SessionEnd) {
        guard var hand = handshake else { return }
        if case .diskName(let number, let name) = message {
            guard hand.names.count < VirtioMessageLimits.devices else { throw .violation("too many disks") }
            handshake?.names[number] = Self.name(bytes, name)
            return
        }
        guard hand.step != .awaitingPool, header.token == hand.token, header.isBus || header.device == hand.devices.first ?? 0 else {
            throw .violation("an answer that nobody asked for (message \(header.id))")
        }
        let device = hand.devices.first ?? 0

        switch (hand.step, message) {
        case (.devices, .devices(let window)):
            guard window.offset == 0, window.next == 0 else { throw .violation("more devices than a bus holds") }
            hand.devices = (0..<UInt16(64)).filter { window.present >> UInt64($0) & 1 == 1 }
            guard !hand.devices.isEmpty else { throw .violation("the DD/OS offers no disk") }
            handshake = hand
            try askInfo(&outbox)

        case (.info, .deviceInfo(let info)):
            guard info.deviceID == 2 else { throw .violation("device \(device) is no disk (virtio type \(info.deviceID))") }
            guard info.maximumVirtqueues >= 1 else { throw .violation("disk \(device) has no queue") }
            handshake?.configurationSize = info.configurationSize
            try askStatus(.reset, device, [], &outbox)

        case (.reset, .deviceStatusSet(let status)):
            guard status == [] else { throw .violation("disk \(device) does not reset") }
            try askStatus(.acknowledge, device, [.acknowledge, .driver], &outbox)

        case (.acknowledge, .deviceStatusSet(let status)):
            try check(status, has: [.acknowledge, .driver], device)
            try ask(.features, &outbox) { outbox throws(MessageError) in try outbox.getDeviceFeatures(device: device) }

        case (.features, .deviceFeatures(let blocks)):
            guard blocks.first == 0, blocks.count == 2 else { throw .violation("disk \(device) answers for other features") }
            let features = blocks.bits & Handshake.wanted.rawValue
            guard features & VirtioBlockFeatures.version1.rawValue != 0 else { throw .violation("disk \(device) is a legacy device") }
            handshake?.features = features
            try ask(.setFeatures, &outbox) { outbox throws(MessageError) in try outbox.setDriverFeatures(device: device, features) }

        case (.setFeatures, .driverFeaturesSet):
            try askStatus(.featuresOK, device, [.acknowledge, .driver, .featuresOK], &outbox)

        case (.featuresOK, .deviceStatusSet(let status)):
            try check(status, has: [.acknowledge, .driver, .featuresOK], device)
            let length = min(hand.configurationSize, UInt32(VirtioBlockConfiguration.byteCount))
            try ask(.config, &outbox) { outbox throws(MessageError) in try outbox.getConfig(device: device, offset: 0, length: length) }

        case (.config, .config(_, let offset, let data)):
            guard offset == 0, data.count <= VirtioBlockConfiguration.byteCount else {
                throw .violation("disk \(device) answers for another part")
            }
            var raw: [UInt8] = []
            for index in data.offset..<(data.offset + data.count) { raw.append(bytes[index]) }
            let disk = try describe(raw, hand)
            handshake?.disk = disk
            try ask(.queue, &outbox) { outbox throws(MessageError) in try outbox.getVirtqueue(device: device, index: 0) }

        case (.queue, .virtqueue(let queue)):
            try setUpQueue(queue, hand, device, &outbox)

        case (.setQueue, .virtqueueSet):
            try askStatus(.driverOK, device, [.acknowledge, .driver, .featuresOK, .driverOK], &outbox)

        case (.driverOK, .deviceStatusSet(let status)):
            try check(status, has: [.acknowledge, .driver, .featuresOK, .driverOK], device)
            try askIdentity(device, &outbox)

        default:
            throw .violation("an answer that nobody asked for (message \(header.id))")
        }
    }

    private mutating func askInfo(_ outbox: inout MessageOutbox) throws(SessionEnd) {
        let device = handshake?.devices.first ?? 0
        try ask(.info, &outbox) { outbox throws(MessageError) in try outbox.getDeviceInfo(device: device) }
    }

    private mutating func askStatus(
        _ step: Handshake.Step, _ device: UInt16, _ status: DeviceStatus, _ outbox: inout MessageOutbox
    ) throws(SessionEnd) {
        try ask(step, &outbox) { outbox throws(MessageError) in try outbox.setDeviceStatus(device: device, status) }
    }

    private mutating func ask(
        _ step: Handshake.Step, _ outbox: inout MessageOutbox, _ body: (inout MessageOutbox) throws(MessageError) -> UInt16
    ) throws(SessionEnd) {
        do {
            handshake?.token = try body(&outbox)
        } catch {
            throw .violation("the server stub does not read its messages")
        }
        handshake?.step = step
        handshake?.stepDeadline = Self.later(now, configuration.stepTimeout)
    }

    private func check(_ status: DeviceStatus, has wanted: DeviceStatus, _ device: UInt16) throws(SessionEnd) {
        guard status == wanted else { throw .violation("disk \(device) has status \(status.rawValue) where \(wanted.rawValue) was set") }
    }

    /// A name of the guest's: printable ASCII without `/`, or nothing.
    static func name(_ bytes: Span<UInt8>, _ data: MessageData) -> String {
        var text = GuestText.printable(bytes, data)
        text.removeAll { $0 == "/" || $0 == " " || $0 == "?" }
        return text
    }

    /// The disk under way, as its configuration says.
    private func describe(_ raw: [UInt8], _ hand: Handshake) throws(SessionEnd) -> BlockExport {
        let device = hand.devices.first ?? 0
        let disk: VirtioBlockDisk
        do {
            disk = try VirtioBlockDisk(
                untrusted: VirtioBlockConfiguration(untrusted: raw), features: VirtioBlockFeatures(rawValue: hand.features))
        } catch { throw .violation("disk \(device): \(error.description)") }
        let given = hand.names[device] ?? ""
        let name = given.isEmpty ? "disk\(device)" : given
        // In a later life what the disk itself takes: the pool is another matter, see `finishHandshake`.
        let new = export(of: disk, name: name, pool: exportsKnown ? .max : hand.poolBytes)
        if !exportsKnown {
            guard !hand.found.contains(where: { $0.name == name }) else { throw .violation("two disks are called \(name)") }
            guard new.blockSize <= 4096 else { throw .violation("\(name) has blocks of \(new.blockSize) bytes") }
        }
        return new
    }

    /// Which export a disk is. In the first session a new one. Later the one with its serial number: the kernel numbers the disks of one
    /// controller as it finds them. Where that does not tell, the one with its name. It has to be as it was.
    private func identify(_ new: BlockExport, serial: String, _ hand: Handshake) throws(SessionEnd) -> Int {
        guard exportsKnown else { return hand.found.count }
        let named = exports.firstIndex { $0.name == new.name }
        let alike = serial.isEmpty ? [] : serials.indices.filter { serials[$0] == serial }
        let place = alike.count == 1 ? alike.first : named
        guard let place else { throw .violation("the new life offers \(new.name), which the first did not") }
        let old = exports[place]
        guard new.size == old.size else { throw .violation("\(old.name) has \(new.size) bytes now, and had \(old.size)") }
        guard new.blockSize == old.blockSize, new.readOnly == old.readOnly else {
            throw .violation("\(old.name) has another block size or is read-only now")
        }
        // What clients were promised has to be kept: no fewer operations.
        guard new.maxRequestBytes >= old.maxRequestBytes, new.canDiscard || !old.canDiscard, new.canWriteZeroes || !old.canWriteZeroes,
            new.canFlush || !old.canFlush
        else { throw .violation("\(old.name) can do less than it could in its first life") }
        guard requests.held(export: place, .writeZeroes, longerThan: new.maxWriteZeroesBytes).isEmpty else {
            throw .violation("\(old.name) zeroes at most \(new.maxWriteZeroesBytes) bytes at once now, and a longer request waits")
        }
        guard serial == serials[place] else {
            func words(_ serial: String) -> String { serial.isEmpty ? "no serial number" : "the serial number '\(serial)'" }
            throw .violation("\(old.name) is another disk: it has \(words(serial)), and had \(words(serials[place]))")
        }
        return place
    }

    private func export(of disk: VirtioBlockDisk, name: String, pool: UInt64) -> BlockExport {
        let block = disk.blockSize
        func limited(_ bytes: UInt64) -> UInt32 { UInt32(min(bytes, 1 << 30)) & ~(block - 1) }
        let segment = UInt64(min(disk.maximumSegmentSize, largestRequest(in: pool)))
        return BlockExport(
            name: name, size: disk.size, blockSize: block, preferredBlockSize: max(block, min(disk.physicalBlockSize, 65536)),
            readOnly: disk.isReadOnly, rotational: false, maxRequestBytes: limited(segment),
            maxDiscardBytes: limited(disk.maximumDiscard), maxWriteZeroesBytes: limited(disk.maximumWriteZeroes),
            canFlush: disk.canFlush, canDiscard: disk.maximumDiscard > 0, canWriteZeroes: disk.maximumWriteZeroes > 0)
    }

    private mutating func setUpQueue(
        _ queue: QueueConfiguration, _ hand: Handshake, _ device: UInt16, _ outbox: inout MessageOutbox
    ) throws(SessionEnd) {
        guard queue.index == 0, queue.maximumSize > 0 else { throw .violation("disk \(device) has no queue") }
        guard let memory = pendingRegion?.memory else { throw .violation("no pool") }
        // The largest power of two that both sides take.
        let most = min(queue.maximumSize, UInt32(configuration.queueSize))
        let size = UInt16(1) << UInt16(31 - most.leadingZeroBitCount)
        // Without indirect tables a request takes three descriptors.
        guard size >= 4 else { throw .violation("the queue of disk \(device) has only \(queue.maximumSize) descriptors") }
        let start = hand.nextByte
        let end = start + DiskQueue.byteCount(size: size)
        guard end + smallestData(in: memory.count) <= memory.count else {
            throw .violation("a pool of \(memory.count) bytes is too small for \(hand.devices.count) disks")
        }
        let new = try DiskQueue(
            device: device, size: size, at: start, in: memory, features: VirtqueueFeatures(rawValue: hand.features))
        let layout = new.layout
        queues.append(new)
        handshake?.nextByte = end
        let configured = QueueConfiguration(
            index: 0, size: UInt32(size), descriptors: layout.descriptors, driver: layout.driver, device: layout.device)
        try ask(.setQueue, &outbox) { outbox throws(MessageError) in try outbox.setVirtqueue(device: device, configured) }
    }

    /// The first request of a disk: which one it is. Name, size and block size are not enough: what is in flight must not land on
    /// another disk of the same kind.
    private mutating func askIdentity(_ device: UInt16, _ outbox: inout MessageOutbox) throws(SessionEnd) {
        let place = queues.count - 1
        handshake?.control = try queues[place].addIdentify()
        // Asked for before the request can be served, so the answer brings a doorbell.
        _ = queues[place].enableNotification()
        handshake?.step = .identity
        handshake?.stepDeadline = Self.later(now, configuration.stepTimeout)
        guard queues[place].publish() else { return }
        do { try outbox.eventAvail(device: device, queue: 0) } catch { throw .violation("the server stub does not read its messages") }
    }

    /// A doorbell while a disk's serial number is awaited.
    mutating func identified(_ device: UInt16, _ queue: UInt32, _ outbox: inout MessageOutbox) throws(SessionEnd) {
        guard let hand = handshake, let disk = hand.disk else { return }
        let place = queues.count - 1
        guard queue == 0, (0...place).contains(where: { queues[$0].device == device }) else {
            throw .violation("a doorbell for a queue that does not exist")
        }
        // A doorbell too many, or of another disk.
        guard let used = try queues[place].popUsed() else { return }
        let serial = try queues[place].takeSerial(control: hand.control, written: used.length)
        let export = try identify(disk, serial: serial, hand)
        while queueOfExport.count <= export { queueOfExport.append(-1) }
        guard queueOfExport[export] < 0 else { throw .violation("two disks are the same") }
        queueOfExport[export] = place
        if exportsKnown {
            adopt(disk, as: export)
        } else {
            handshake?.found.append(disk)
            handshake?.serials.append(serial)
        }
        handshake?.devices.removeFirst()
        if hand.devices.count > 1 { try askInfo(&outbox) } else { try finishHandshake() }
    }

    /// How much a disk discards or zeroes at once is its kernel's to say, and this life may have another kernel. Front ends ask anew for
    /// each piece. A discard that waits and is too long now is done: it is a hint, and the disk may do nothing.
    private mutating func adopt(_ disk: BlockExport, as export: Int) {
        exports[export].maxDiscardBytes = disk.maxDiscardBytes
        exports[export].maxWriteZeroesBytes = disk.maxWriteZeroesBytes
        for index in requests.held(export: export, .discard, longerThan: disk.maxDiscardBytes) { finish(index, .ok) }
    }

    private mutating func finishHandshake() throws(SessionEnd) {
        guard let hand = handshake, let region = pendingRegion.take() else { return }
        if exportsKnown {
            guard queueOfExport.count == exports.count, !queueOfExport.contains(-1) else {
                throw .violation("the new life offers \(queues.count) of \(exports.count) disks")
            }
            // The pool may be smaller than that of the first life, as long as any request that is held fits.
            let longest = exports.reduce(0) { max($0, UInt64($1.maxRequestBytes)) } + UInt64(PageAllocator.pageSize)
            guard hand.nextByte + longest <= region.memory.count else {
                throw .violation(
                    "a pool of \(region.memory.count) bytes is too small for requests of \(longest) bytes, which its first life took")
            }
        } else {
            exports = hand.found
            serials = hand.serials
        }
        sessionIsReady(region, firstByte: hand.nextByte, now: now)
    }
}
