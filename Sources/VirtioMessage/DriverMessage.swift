/// What the driver side (the client stub) sends, as the device side decodes it.
public enum DriverMessage: Equatable, Sendable {
    case getDevices(offset: UInt16, count: UInt16)
    case ping(UInt32)
    /// The answer to the device side's PING.
    case pong(UInt32)
    case inject(InjectedFault)
    /// NET_CONTROL: class, command and data of a control queue's command, for the device of that number.
    case netControl(device: UInt16, command: MessageData)

    case getDeviceInfo
    /// Which blocks are asked for; no bits.
    case getDeviceFeatures(FeatureBlocks)
    case setDriverFeatures(FeatureBlocks)
    case getConfig(offset: UInt32, length: UInt32)
    case setConfig(generation: UInt32, offset: UInt32, data: MessageData)
    case getDeviceStatus
    case setDeviceStatus(DeviceStatus)
    case getVirtqueue(index: UInt32)
    case setVirtqueue(QueueConfiguration)
    case resetVirtqueue(index: UInt32)
    case getSharedMemory(index: UInt32)
    case eventAvail(queue: UInt32, next: UInt32)

    /// Decodes the message of `header`, whose bytes (header included, exactly `header.size`) are `bytes`.
    public init(untrusted header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) {
        guard bytes.count == Int(header.size) else { throw .truncated }
        self = header.isBus ? try Self.bus(header, bytes) : try Self.transport(header, bytes)
    }

    private static func bus(_ header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) -> Self {
        switch (header.id, header.isResponse) {
        case (BusMessageID.getDevices, false):
            guard header.payloadSize == 4 else { throw header.wrongSize() }
            let (offset, count) = (bytes.u16(at: 8), bytes.u16(at: 10))
            guard offset % 8 == 0, count % 8 == 0 else { throw header.invalid() }
            return .getDevices(offset: offset, count: count)
        case (BusMessageID.ping, let isResponse):
            guard header.payloadSize == 4 else { throw header.wrongSize() }
            return isResponse ? .pong(bytes.u32(at: 8)) : .ping(bytes.u32(at: 8))
        case (BusMessageID.inject, false):
            guard header.payloadSize == 4 else { throw header.wrongSize() }
            guard let fault = InjectedFault(rawValue: bytes.u32(at: 8)) else { throw header.invalid() }
            return .inject(fault)
        case (BusMessageID.netControl, false):
            guard header.payloadSize >= 4 else { throw header.wrongSize() }
            return .netControl(device: bytes.u16(at: 8), command: MessageData(offset: 10, count: header.payloadSize - 2))
        default:
            throw header.unknown()
        }
    }

    private static func transport(_ header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) -> Self {
        guard !header.isResponse else { throw header.unknown() }
        func need(_ payload: Int) throws(MessageError) {
            guard header.payloadSize == payload else { throw header.wrongSize() }
        }
        switch header.id {
        case TransportMessageID.getDeviceInfo:
            try need(0)
            return .getDeviceInfo
        case TransportMessageID.getDeviceFeatures:
            try need(8)
            let blocks = FeatureBlocks(first: bytes.u32(at: 8), count: bytes.u32(at: 12))
            // The answer, 8 bytes and 4 per block after the header, has to fit a message.
            guard blocks.count <= FeatureBlocks.maximumCount else { throw header.invalid() }
            return .getDeviceFeatures(blocks)
        case TransportMessageID.setDriverFeatures:
            return .setDriverFeatures(try FeatureBlocks(untrusted: header, bytes))
        case TransportMessageID.getConfig:
            try need(8)
            return .getConfig(offset: bytes.u32(at: 8), length: bytes.u32(at: 12))
        case TransportMessageID.setConfig:
            guard header.payloadSize >= 12 else { throw header.wrongSize() }
            guard UInt32(header.payloadSize - 12) == bytes.u32(at: 16) else { throw header.wrongSize() }
            return .setConfig(
                generation: bytes.u32(at: 8), offset: bytes.u32(at: 12),
                data: MessageData(offset: 20, count: header.payloadSize - 12))
        case TransportMessageID.getDeviceStatus:
            try need(0)
            return .getDeviceStatus
        case TransportMessageID.setDeviceStatus:
            try need(4)
            return .setDeviceStatus(DeviceStatus(rawValue: bytes.u32(at: 8)))
        case TransportMessageID.getVirtqueue:
            try need(4)
            return .getVirtqueue(index: bytes.u32(at: 8))
        case TransportMessageID.setVirtqueue:
            try need(40)
            return .setVirtqueue(
                QueueConfiguration(
                    index: bytes.u32(at: 8), size: bytes.u32(at: 16), descriptors: bytes.u64(at: 24),
                    driver: bytes.u64(at: 32), device: bytes.u64(at: 40)))
        case TransportMessageID.resetVirtqueue:
            try need(4)
            return .resetVirtqueue(index: bytes.u32(at: 8))
        case TransportMessageID.getSharedMemory:
            try need(4)
            return .getSharedMemory(index: bytes.u32(at: 8))
        case TransportMessageID.eventAvail:
            try need(8)
            return .eventAvail(queue: bytes.u32(at: 8), next: bytes.u32(at: 12))
        default:
            throw header.unknown()
        }
    }
}

extension FeatureBlocks {
    /// The most blocks whose data fits one message.
    public static let maximumCount =
        UInt32((VirtioMessageLimits.maximumMessageSize - MessageHeader.byteCount - 8) / 4)

    /// Decodes block index, block count and data, as SET_DRIVER_FEATURES and GET_DEVICE_FEATURES's answer have them.
    init(untrusted header: MessageHeader, _ bytes: Span<UInt8>) throws(MessageError) {
        guard header.payloadSize >= 8 else { throw header.wrongSize() }
        self.init(first: bytes.u32(at: 8), count: bytes.u32(at: 12))
        guard count <= Self.maximumCount, header.payloadSize == 8 + 4 * Int(count) else { throw header.wrongSize() }
        for block in 0..<Int(count) {
            let value = bytes.u32(at: 16 + 4 * block)
            switch UInt64(first) + UInt64(block) {
            case 0: bits |= UInt64(value)
            case 1: bits |= UInt64(value) << 32
            default: if value != 0 { hasUnknownBits = true }
            }
        }
    }
}
