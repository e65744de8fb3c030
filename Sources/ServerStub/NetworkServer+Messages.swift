internal import LinuxSystem
internal import VirtioMessage
internal import VirtioNet

extension NetworkServer {
    mutating func handleMessage(_ header: MessageHeader) {
        do throws(MessageError) {
            let message = try DriverMessage(untrusted: header, inbox.message)
            if header.isBus { try handleBus(header, message) } else { try handleTransport(header, message) }
        } catch {
            complain("message " + decimal(Int(header.id)) + " of " + decimal(Int(header.size)) + " bytes is malformed")
        }
    }

    private var deviceCount: UInt16 { path == nil ? 0 : 1 }

    private mutating func handleBus(_ header: MessageHeader, _ message: DriverMessage) throws(MessageError) {
        switch message {
        case .getDevices(let offset, let count):
            let isThere = offset == 0 && count > 0 && deviceCount == 1
            try outbox.devices(
                token: header.token,
                DeviceWindow(
                    offset: offset, count: min(count, UInt16(VirtioMessageLimits.devices)), next: 0, present: isThere ? 1 : 0))
        case .ping(let data): try outbox.pong(token: header.token, data)
        case .inject(let fault): finish(.injected(fault))
        case .netControl(let number, let command): try control(header, number, command)
        default: break
        }
    }

    private mutating func control(_ header: MessageHeader, _ number: UInt16, _ place: MessageData) throws(MessageError) {
        var answer: NetControlAnswer
        do throws(NetControlError) {
            let command = try Self.command(inbox.message, place)
            answer = .refused(code: 19, reason: "there is no such device")  // ENODEV
            if number == 0, let done = perform(command) { answer = done }
        } catch {
            answer = .refused(code: 22, reason: "the command makes no sense")  // EINVAL
            complain("control command of " + decimal(place.count) + " bytes is malformed")
        }
        // Not a temporary: Embedded Swift 6.3 with -Osize frees a temporary array before its span is read.
        let bytes = answer.encoded()
        try outbox.netControlAnswer(device: number, token: header.token, answer: bytes.span)
    }

    private static func command(_ message: Span<UInt8>, _ place: MessageData) throws(NetControlError) -> NetControlCommand {
        try NetControlCommand(untrusted: message.extracting(place.offset..<place.offset + place.count))
    }

    private mutating func perform(_ command: NetControlCommand) -> NetControlAnswer? { path?.perform(command) }

    private mutating func handleTransport(_ header: MessageHeader, _ message: DriverMessage) throws(MessageError) {
        let (number, token) = (header.device, header.token)
        guard number < deviceCount else {
            // The only message that a device number without a device answers.
            guard case .getDeviceInfo = message else {
                complain("message for device " + decimal(Int(number)) + ", which is not there")
                return
            }
            try outbox.deviceInfo(device: number, token: token, DeviceInfo())
            return
        }
        switch message {
        case .getDeviceInfo:
            try outbox.deviceInfo(
                device: number, token: token,
                DeviceInfo(
                    deviceID: 1, vendorID: DeviceBus.vendor, featureBits: 64, configurationSize: UInt32(device.configuration.count)))
        case .getDeviceFeatures(let asked):
            try outbox.deviceFeatures(device: number, token: token, asked: asked, features: NetworkDevice.features.rawValue)
        case .setDriverFeatures(let blocks):
            device.setDriverFeatures(blocks)
            try outbox.driverFeaturesSet(device: number, token: token)
        case .getConfig(let offset, let length):
            let all = device.configuration
            // Outside of the space there is no data, which the answer's length says.
            let isInside = UInt64(offset) + UInt64(length) <= UInt64(all.count)
            let range = isInside ? Int(offset)..<Int(offset) + Int(length) : 0..<0
            try outbox.config(
                device: number, token: token, generation: device.generation, offset: offset, data: all.span.extracting(range))
        case .setConfig(_, let offset, _):
            // Nothing in it can be written; settings are control commands. Rejected, which no data in the answer says.
            let none: [UInt8] = []
            try outbox.configSet(device: number, token: token, generation: device.generation, offset: offset, data: none.span)
        case .getDeviceStatus: try outbox.deviceStatus(device: number, token: token, device.status)
        case .setDeviceStatus(let status): try outbox.deviceStatusSet(device: number, token: token, device.setStatus(status))
        case .getVirtqueue(let queue):
            try outbox.virtqueue(
                device: number, token: token, QueueConfiguration(index: queue, size: 0, descriptors: 0, driver: 0, device: 0))
        case .setVirtqueue:
            try outbox.virtqueueSet(device: number, token: token)
            complain("a queue for a device that has none")
        case .resetVirtqueue:
            try outbox.virtqueueReset(device: number, token: token)
            complain("a queue reset for a device that has none")
        case .getSharedMemory(let region):
            try outbox.sharedMemory(device: number, token: token, index: region, length: 0, address: 0)
        case .eventAvail: complain("a doorbell for a device without queues")
        case .getDevices, .ping, .pong, .inject, .netControl: break
        }
    }
}
