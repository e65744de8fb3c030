/// What the device side (the server stub) sends, as the driver side decodes it.
public enum DeviceMessage: Equatable, Sendable {
    /// The answer to GET_DEVICES.
    case devices(DeviceWindow)
    case ping(UInt32)
    /// The answer to the driver side's PING.
    case pong(UInt32)
    /// EVENT_DEVICE. `nil`: a state that this bus does not define.
    case eventDevice(number: UInt16, state: DeviceBusState?)
    case pool(PoolDescription)
    /// Text, not checked to be UTF-8.
    case log(text: MessageData)
    /// Name of the disk, not checked to be UTF-8.
    case diskName(number: UInt16, name: MessageData)
    /// The answer to NET_CONTROL: ack and result.
    case netControl(device: UInt16, answer: MessageData)

    case deviceInfo(DeviceInfo)
    case deviceFeatures(FeatureBlocks)
    /// SET_DRIVER_FEATURES was taken.
    case driverFeaturesSet
    /// The answer to GET_CONFIG.
    case config(generation: UInt32, offset: UInt32, data: MessageData)
    /// The answer to SET_CONFIG; no data: rejected.
    case configSet(generation: UInt32, offset: UInt32, data: MessageData)
    /// The answer to GET_DEVICE_STATUS.
    case deviceStatus(DeviceStatus)
    /// The answer to SET_DEVICE_STATUS: the resulting status.
    case deviceStatusSet(DeviceStatus)
    case virtqueue(QueueConfiguration)
    case virtqueueSet
    case virtqueueReset
    case sharedMemory(index: UInt32, length: UInt32, address: UInt32)
    case eventConfig(status: DeviceStatus, generation: UInt32, offset: UInt32, data: MessageData)
    case eventUsed(queue: UInt32)

    /// Decodes the message of `header`, whose bytes (header included, exactly `header.size`) are `bytes`.
    public init(untrusted header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) {
        guard bytes.count == Int(header.size) else { throw .truncated }
        if header.isBus {
            self = try Self.bus(header, bytes)
        } else if header.isResponse {
            self = try Self.response(header, bytes)
        } else {
            self = try Self.event(header, bytes)
        }
    }

    private static func bus(_ header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) -> Self {
        let payload = header.payloadSize
        switch (header.id, header.isResponse) {
        case (BusMessageID.getDevices, true):
            guard payload >= 6 else { throw header.wrongSize() }
            var window = DeviceWindow(
                offset: bytes.u16(at: 8), count: bytes.u16(at: 10), next: bytes.u16(at: 12), present: 0)
            guard window.offset % 8 == 0, window.count % 8 == 0, window.next % 8 == 0,
                Int(window.count) <= VirtioMessageLimits.devices,
                window.next == 0 || Int(window.next) >= Int(window.offset) + Int(window.count)
            else { throw header.invalid() }
            guard payload == 6 + Int(window.count) / 8 else { throw header.wrongSize() }
            for byte in 0..<Int(window.count) / 8 { window.present |= UInt64(bytes[14 + byte]) << (8 * UInt64(byte)) }
            return .devices(window)
        case (BusMessageID.ping, let isResponse):
            guard payload == 4 else { throw header.wrongSize() }
            return isResponse ? .pong(bytes.u32(at: 8)) : .ping(bytes.u32(at: 8))
        case (BusMessageID.eventDevice, false):
            guard payload == 4 else { throw header.wrongSize() }
            return .eventDevice(number: bytes.u16(at: 8), state: DeviceBusState(rawValue: bytes.u16(at: 10)))
        case (BusMessageID.pool, false):
            guard payload >= PoolDescription.headerBytes else { throw header.wrongSize() }
            let (flags, count) = (bytes.u32(at: 16), bytes.u32(at: 20))
            guard bytes.u32(at: 8) == VirtioMessageLimits.poolVersion, flags & ~1 == 0,
                count <= UInt32(PoolDescription.maximumExtents)
            else { throw header.invalid() }
            guard payload == PoolDescription.headerBytes + Int(count) * PoolDescription.extentBytes else {
                throw header.wrongSize()
            }
            return .pool(PoolDescription(pageSize: bytes.u32(at: 12), isFile: flags & 1 != 0, extentCount: Int(count)))
        case (BusMessageID.log, false):
            guard payload <= VirtioMessageLimits.logBytes else { throw header.wrongSize() }
            return .log(text: MessageData(offset: 8, count: payload))
        case (BusMessageID.diskName, false):
            guard payload >= 2, payload - 2 <= VirtioMessageLimits.nameBytes else { throw header.wrongSize() }
            return .diskName(number: bytes.u16(at: 8), name: MessageData(offset: 10, count: payload - 2))
        case (BusMessageID.netControl, true):
            guard payload >= 3 else { throw header.wrongSize() }
            return .netControl(device: bytes.u16(at: 8), answer: MessageData(offset: 10, count: payload - 2))
        default:
            throw header.unknown()
        }
    }

    private static func response(_ header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) -> Self {
        func need(_ payload: Int) throws(MessageError) {
            guard header.payloadSize == payload else { throw header.wrongSize() }
        }
        switch header.id {
        case TransportMessageID.getDeviceInfo:
            try need(24)
            let info = DeviceInfo(
                deviceID: bytes.u32(at: 8), vendorID: bytes.u32(at: 12), featureBits: bytes.u32(at: 16),
                configurationSize: bytes.u32(at: 20), maximumVirtqueues: bytes.u32(at: 24),
                adminQueueStart: bytes.u16(at: 28), adminQueueCount: bytes.u16(at: 30))
            guard info.featureBits % 32 == 0 else { throw header.invalid() }
            return .deviceInfo(info)
        case TransportMessageID.getDeviceFeatures:
            return .deviceFeatures(try FeatureBlocks(untrusted: header, bytes))
        case TransportMessageID.setDriverFeatures:
            try need(0)
            return .driverFeaturesSet
        case TransportMessageID.getConfig, TransportMessageID.setConfig:
            guard header.payloadSize >= 12 else { throw header.wrongSize() }
            guard UInt32(header.payloadSize - 12) == bytes.u32(at: 16) else { throw header.wrongSize() }
            let data = MessageData(offset: 20, count: header.payloadSize - 12)
            let (generation, offset) = (bytes.u32(at: 8), bytes.u32(at: 12))
            return header.id == TransportMessageID.getConfig
                ? .config(generation: generation, offset: offset, data: data)
                : .configSet(generation: generation, offset: offset, data: data)
        case TransportMessageID.getDeviceStatus:
            try need(4)
            return .deviceStatus(DeviceStatus(rawValue: bytes.u32(at: 8)))
        case TransportMessageID.setDeviceStatus:
            try need(4)
            return .deviceStatusSet(DeviceStatus(rawValue: bytes.u32(at: 8)))
        case TransportMessageID.getVirtqueue:
            try need(40)
            return .virtqueue(
                QueueConfiguration(
                    index: bytes.u32(at: 8), maximumSize: bytes.u32(at: 12), size: bytes.u32(at: 16),
                    descriptors: bytes.u64(at: 24), driver: bytes.u64(at: 32), device: bytes.u64(at: 40)))
        case TransportMessageID.setVirtqueue:
            try need(0)
            return .virtqueueSet
        case TransportMessageID.resetVirtqueue:
            try need(0)
            return .virtqueueReset
        case TransportMessageID.getSharedMemory:
            try need(12)
            return .sharedMemory(index: bytes.u32(at: 8), length: bytes.u32(at: 12), address: bytes.u32(at: 16))
        default:
            throw header.unknown()
        }
    }

    private static func event(_ header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) -> Self {
        switch header.id {
        case TransportMessageID.eventUsed:
            guard header.payloadSize == 4 else { throw header.wrongSize() }
            return .eventUsed(queue: bytes.u32(at: 8))
        case TransportMessageID.eventConfig:
            guard header.payloadSize >= 16 else { throw header.wrongSize() }
            guard UInt32(header.payloadSize - 16) == bytes.u32(at: 20) else { throw header.wrongSize() }
            return .eventConfig(
                status: DeviceStatus(rawValue: bytes.u32(at: 8)), generation: bytes.u32(at: 12),
                offset: bytes.u32(at: 16), data: MessageData(offset: 24, count: header.payloadSize - 16))
        default:
            throw header.unknown()
        }
    }
}
