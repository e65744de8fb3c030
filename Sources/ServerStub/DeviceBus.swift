internal import VirtioMessage
internal import Virtqueue

/// The device side of the virtio-msg bus: all devices of a server stub, and what each message does to them.
///
/// Knows nothing of sockets or disks' I/O: answers go to an outbox, the rest is told to the caller as an `Effect`.
struct DeviceBus: ~Copyable {
    var devices: FixedArray<ServedDevice>
    private let memory: PoolMemory

    init(devices: consuming FixedArray<ServedDevice>, memory: PoolMemory) {
        self.devices = devices
        self.memory = memory
    }

    /// What a message asks of the server, beyond its answer.
    enum Effect: Equatable {
        /// Nothing; the queues are looked at after every batch of messages anyway.
        case nothing
        /// A reset waits for requests in flight.
        case reset(device: Int)
        /// The driver has heard nothing for a while.
        case pinged
        case inject(InjectedFault)
        /// The driver did something wrong; the text says what.
        case complain(String)
    }

    /// The most bytes that handling one message adds to the outbox.
    static let mostAnswerBytes = VirtioMessageLimits.maximumMessageSize + 64

    /// Acts on one message. The outbox has room for `mostAnswerBytes`.
    mutating func handle(
        _ header: MessageHeader, _ message: DriverMessage, outbox: inout MessageOutbox
    ) throws(MessageError) -> Effect {
        switch message {
        case .getDevices(let offset, let count):
            try outbox.devices(token: header.token, window(offset, count))
            return .nothing
        case .ping(let data):
            try outbox.pong(token: header.token, data)
            return .pinged
        case .pong:
            return .nothing
        case .inject(let fault):
            return .inject(fault)
        case .netControl(let device, _):
            return .complain("control command for device " + decimal(Int(device)) + ", which is a disk")
        default:
            break
        }
        let index = Int(header.device)
        guard index < devices.count else {
            // The only message that a device number without a device answers.
            guard case .getDeviceInfo = message else { return .complain("message for device " + decimal(index) + ", which is not there") }
            try outbox.deviceInfo(device: header.device, token: header.token, DeviceInfo())
            return .nothing
        }
        return try handle(message, header.token, index, outbox: &outbox)
    }

    private func window(_ offset: UInt16, _ count: UInt16) -> DeviceWindow {
        let count = min(count, UInt16(VirtioMessageLimits.devices))
        var present: UInt64 = 0
        for number in 0..<Int(count) where Int(offset) + number < devices.count { present |= 1 << UInt64(number) }
        let end = Int(offset) + Int(count)
        return DeviceWindow(offset: offset, count: count, next: end < devices.count ? UInt16(end) : 0, present: present)
    }

    private mutating func handle(
        _ message: DriverMessage, _ token: UInt16, _ index: Int, outbox: inout MessageOutbox
    ) throws(MessageError) -> Effect {
        let device = UInt16(index)
        switch message {
        case .getDeviceInfo:
            let info = DeviceInfo(
                deviceID: 2, vendorID: Self.vendor, featureBits: 64, configurationSize: UInt32(devices[index].configuration.count),
                maximumVirtqueues: UInt32(devices[index].queues.count))
            try outbox.deviceInfo(device: device, token: token, info)
        case .getDeviceFeatures(let asked):
            try outbox.deviceFeatures(device: device, token: token, asked: asked, features: devices[index].features)
        case .setDriverFeatures(let blocks):
            devices[index].setDriverFeatures(blocks)
            try outbox.driverFeaturesSet(device: device, token: token)
        case .getConfig(let offset, let length):
            try getConfig(index, token, offset, length, outbox: &outbox)
        case .setConfig(_, let offset, _):
            // Nothing in the configuration space can be written: rejected, which no data in the answer says.
            let none: [UInt8] = []
            try outbox.configSet(
                device: device, token: token, generation: devices[index].generation, offset: offset, data: none.span)
        case .getDeviceStatus:
            try outbox.deviceStatus(device: device, token: token, devices[index].status)
        case .setDeviceStatus(let status):
            return try setStatus(index, token, status, outbox: &outbox)
        case .getVirtqueue(let queue):
            let known = queue < UInt32(devices[index].queues.count)
            try outbox.virtqueue(
                device: device, token: token,
                known
                    ? devices[index].queues[Int(queue)].configuration
                    : QueueConfiguration(index: queue, size: 0, descriptors: 0, driver: 0, device: 0))
        case .setVirtqueue(let wanted):
            return try setQueue(index, token, wanted, outbox: &outbox)
        case .resetVirtqueue(let queue):
            return try resetQueue(index, token, queue, outbox: &outbox)
        case .getSharedMemory(let region):
            try outbox.sharedMemory(device: device, token: token, index: region, length: 0, address: 0)
        case .eventAvail(let queue, _):
            guard queue < UInt32(devices[index].queues.count) else { return .complain("doorbell for a queue that is not there") }
        case .getDevices, .ping, .pong, .inject, .netControl:
            break
        }
        return .nothing
    }

    /// "DROV", for want of an assigned number.
    static let vendor: UInt32 = 0x564F_5244

    private func getConfig(
        _ index: Int, _ token: UInt16, _ offset: UInt32, _ length: UInt32, outbox: inout MessageOutbox
    ) throws(MessageError) {
        let all = devices[index].configuration
        // Outside of the space there is no data, which the answer's length says.
        let isInside = UInt64(offset) + UInt64(length) <= UInt64(all.count)
        let range = isInside ? Int(offset)..<Int(offset) + Int(length) : 0..<0
        try outbox.config(
            device: UInt16(index), token: token, generation: devices[index].generation, offset: offset,
            data: all.span.extracting(range))
    }

    private mutating func setStatus(
        _ index: Int, _ token: UInt16, _ status: DeviceStatus, outbox: inout MessageOutbox
    ) throws(MessageError) -> Effect {
        if status.isEmpty {
            // A second reset before the first is answered: the first answer serves both.
            if devices[index].isResetting { return .nothing }
            devices[index].beginReset(token: token)
            return .reset(device: index)
        }
        try outbox.deviceStatusSet(device: UInt16(index), token: token, devices[index].addStatus(status))
        return .nothing
    }

    private mutating func setQueue(
        _ index: Int, _ token: UInt16, _ wanted: QueueConfiguration, outbox: inout MessageOutbox
    ) throws(MessageError) -> Effect {
        var complaint: String?
        do throws(QueueRefusal) {
            try devices[index].setQueue(wanted, in: memory)
        } catch {
            complaint = "queue " + decimal(Int(wanted.index)) + " refused: " + error.text
        }
        // The answer has no place for an error: GET_VQUEUE shows a size of zero, and the status asks for a reset.
        try outbox.virtqueueSet(device: UInt16(index), token: token)
        guard let complaint else { return .nothing }
        try breakDown(index, outbox: &outbox)
        return .complain(complaint)
    }

    private mutating func resetQueue(
        _ index: Int, _ token: UInt16, _ queue: UInt32, outbox: inout MessageOutbox
    ) throws(MessageError) -> Effect {
        guard queue < UInt32(devices[index].queues.count), devices[index].driverFeatures & TransportFeature.ringReset != 0 else {
            try outbox.virtqueueReset(device: UInt16(index), token: token)
            return .complain("queue reset that was not negotiated, or of no queue")
        }
        devices[index].queues[Int(queue)].resetToken = token
        return .reset(device: index)
    }

    /// Marks a device as broken by its driver, and says so (virtio 1.2, 2.1.2).
    mutating func breakDown(_ index: Int, outbox: inout MessageOutbox) throws(MessageError) {
        devices[index].breakDown()
        try outbox.eventConfig(
            device: UInt16(index), status: devices[index].status, generation: devices[index].generation)
    }

    /// Answers the resets of a device that were waiting for requests in flight, if there are none any more.
    mutating func finishResets(_ index: Int, outbox: inout MessageOutbox) throws(MessageError) {
        for queue in 0..<devices[index].queues.count where devices[index].queues[queue].inFlight == 0 {
            guard let token = devices[index].queues[queue].resetToken else { continue }
            devices[index].queues[queue].reset()
            try outbox.virtqueueReset(device: UInt16(index), token: token)
        }
        if let token = devices[index].finishReset() {
            try outbox.deviceStatusSet(device: UInt16(index), token: token, [])
        }
    }
}
