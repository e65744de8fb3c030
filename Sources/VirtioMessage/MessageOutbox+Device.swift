// The messages of the device side (the server stub): answers carry the token of the request they answer.

extension MessageOutbox {
    /// The answer to GET_DEVICES.
    public mutating func devices(token: UInt16, _ window: DeviceWindow) throws(MessageError) {
        precondition(Int(window.count) <= VirtioMessageLimits.devices && window.count % 8 == 0)
        let bytes = Int(window.count) / 8
        try begin(isResponse: true, isBus: true, BusMessageID.getDevices, token: token, payload: 6 + bytes)
        put16(window.offset)
        put16(window.count)
        put16(window.next)
        for byte in 0..<bytes { put8(UInt8(truncatingIfNeeded: window.present >> UInt64(8 * byte))) }
    }

    /// EVENT_DEVICE.
    public mutating func eventDevice(number: UInt16, _ state: DeviceBusState) throws(MessageError) {
        try begin(isBus: true, BusMessageID.eventDevice, payload: 4)
        put16(number)
        put16(state.rawValue)
    }

    /// POOL, the first message of a connection.
    public mutating func pool(pageSize: UInt32, isFile: Bool, extents: Span<PoolExtent>) throws(MessageError) {
        try begin(
            isBus: true, BusMessageID.pool,
            payload: PoolDescription.headerBytes + extents.count * PoolDescription.extentBytes)
        put32(VirtioMessageLimits.poolVersion)
        put32(pageSize)
        put32(isFile ? 1 : 0)
        put32(UInt32(extents.count))
        for index in extents.indices {
            put64(extents[index].address)
            put64(extents[index].length)
        }
    }

    /// LOG; text beyond `VirtioMessageLimits.logBytes` is cut off.
    public mutating func log(_ text: Span<UInt8>) throws(MessageError) {
        let count = min(text.count, VirtioMessageLimits.logBytes)
        try begin(isBus: true, BusMessageID.log, payload: count)
        put(text.extracting(0..<count))
    }

    /// DISK_NAME; a name beyond `VirtioMessageLimits.nameBytes` is cut off.
    public mutating func diskName(number: UInt16, _ name: Span<UInt8>) throws(MessageError) {
        let count = min(name.count, VirtioMessageLimits.nameBytes)
        try begin(isBus: true, BusMessageID.diskName, payload: 2 + count)
        put16(number)
        put(name.extracting(0..<count))
    }

    /// The answer to NET_CONTROL: ack and result.
    public mutating func netControlAnswer(device: UInt16, token: UInt16, answer: Span<UInt8>) throws(MessageError) {
        try begin(isResponse: true, isBus: true, BusMessageID.netControl, token: token, payload: 2 + answer.count)
        put16(device)
        put(answer)
    }

    public mutating func deviceInfo(device: UInt16, token: UInt16, _ info: DeviceInfo) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.getDeviceInfo, device: device, token: token, payload: 24)
        put32(info.deviceID)
        put32(info.vendorID)
        put32(info.featureBits)
        put32(info.configurationSize)
        put32(info.maximumVirtqueues)
        put16(info.adminQueueStart)
        put16(info.adminQueueCount)
    }

    /// The answer to GET_DEVICE_FEATURES: the run of blocks that was asked for, cut out of `features`.
    public mutating func deviceFeatures(
        device: UInt16, token: UInt16, asked: FeatureBlocks, features: UInt64
    ) throws(MessageError) {
        guard asked.count <= FeatureBlocks.maximumCount else { throw .noSpace }
        try begin(
            isResponse: true, TransportMessageID.getDeviceFeatures, device: device, token: token,
            payload: 8 + 4 * Int(asked.count))
        put32(asked.first)
        put32(asked.count)
        for block in 0..<asked.count {
            switch UInt64(asked.first) + UInt64(block) {
            case 0: put32(UInt32(truncatingIfNeeded: features))
            case 1: put32(UInt32(truncatingIfNeeded: features >> 32))
            default: put32(0)
            }
        }
    }

    public mutating func driverFeaturesSet(device: UInt16, token: UInt16) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.setDriverFeatures, device: device, token: token, payload: 0)
    }

    /// The answer to GET_CONFIG.
    public mutating func config(
        device: UInt16, token: UInt16, generation: UInt32, offset: UInt32, data: Span<UInt8>
    ) throws(MessageError) {
        try configuration(TransportMessageID.getConfig, device, token, generation, offset, data)
    }

    /// The answer to SET_CONFIG: the data as it is now, or none when the write was rejected.
    public mutating func configSet(
        device: UInt16, token: UInt16, generation: UInt32, offset: UInt32, data: Span<UInt8>
    ) throws(MessageError) {
        try configuration(TransportMessageID.setConfig, device, token, generation, offset, data)
    }

    /// The answer to GET_DEVICE_STATUS.
    public mutating func deviceStatus(device: UInt16, token: UInt16, _ status: DeviceStatus) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.getDeviceStatus, device: device, token: token, payload: 4)
        put32(status.rawValue)
    }

    /// The answer to SET_DEVICE_STATUS.
    public mutating func deviceStatusSet(device: UInt16, token: UInt16, _ status: DeviceStatus) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.setDeviceStatus, device: device, token: token, payload: 4)
        put32(status.rawValue)
    }

    /// The answer to GET_VQUEUE.
    public mutating func virtqueue(device: UInt16, token: UInt16, _ queue: QueueConfiguration) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.getVirtqueue, device: device, token: token, payload: 40)
        put32(queue.index)
        put32(queue.maximumSize)
        put32(queue.size)
        put32(0)
        put64(queue.descriptors)
        put64(queue.driver)
        put64(queue.device)
    }

    public mutating func virtqueueSet(device: UInt16, token: UInt16) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.setVirtqueue, device: device, token: token, payload: 0)
    }

    public mutating func virtqueueReset(device: UInt16, token: UInt16) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.resetVirtqueue, device: device, token: token, payload: 0)
    }

    /// The answer to GET_SHM: a length of zero says that there is no such region.
    public mutating func sharedMemory(
        device: UInt16, token: UInt16, index: UInt32, length: UInt32, address: UInt32
    ) throws(MessageError) {
        try begin(isResponse: true, TransportMessageID.getSharedMemory, device: device, token: token, payload: 12)
        put32(index)
        put32(length)
        put32(address)
    }

    /// EVENT_CONFIG without data: the driver reads again what it wants to know.
    public mutating func eventConfig(device: UInt16, status: DeviceStatus, generation: UInt32) throws(MessageError) {
        try begin(TransportMessageID.eventConfig, device: device, payload: 16)
        put32(status.rawValue)
        put32(generation)
        put32(0)
        put32(0)
    }

    /// EVENT_CONFIG with the whole configuration space, so that the driver need not ask.
    public mutating func eventConfig(
        device: UInt16, status: DeviceStatus, generation: UInt32, data: Span<UInt8>
    ) throws(MessageError) {
        try begin(TransportMessageID.eventConfig, device: device, payload: 16 + data.count)
        put32(status.rawValue)
        put32(generation)
        put32(0)
        put32(UInt32(data.count))
        put(data)
    }

    /// EVENT_USED: the doorbell of the device side.
    public mutating func eventUsed(device: UInt16, queue: UInt32) throws(MessageError) {
        try begin(TransportMessageID.eventUsed, device: device, payload: 4)
        put32(queue)
    }

    private mutating func configuration(
        _ id: UInt8, _ device: UInt16, _ token: UInt16, _ generation: UInt32, _ offset: UInt32, _ data: Span<UInt8>
    ) throws(MessageError) {
        try begin(isResponse: true, id, device: device, token: token, payload: 12 + data.count)
        put32(generation)
        put32(offset)
        put32(UInt32(data.count))
        put(data)
    }
}
