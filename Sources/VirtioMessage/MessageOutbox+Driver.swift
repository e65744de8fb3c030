// The messages of the driver side (the client stub). Requests return the token that their answer will carry.

extension MessageOutbox {
    /// GET_DEVICES. `offset` and `count` are multiples of 8.
    public mutating func getDevices(offset: UInt16, count: UInt16) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(isBus: true, BusMessageID.getDevices, token: token, payload: 4)
        put16(offset)
        put16(count)
        return token
    }

    /// PING, from either side.
    public mutating func ping(_ data: UInt32) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(isBus: true, BusMessageID.ping, token: token, payload: 4)
        put32(data)
        return token
    }

    /// The answer to the peer's PING.
    public mutating func pong(token: UInt16, _ data: UInt32) throws(MessageError) {
        try begin(isResponse: true, isBus: true, BusMessageID.ping, token: token, payload: 4)
        put32(data)
    }

    /// INJECT: an event, nothing answers.
    public mutating func inject(_ fault: InjectedFault) throws(MessageError) {
        try begin(isBus: true, BusMessageID.inject, payload: 4)
        put32(fault.rawValue)
    }

    /// NET_CONTROL: class, command and data of a control queue's command.
    public mutating func netControl(device: UInt16, command: Span<UInt8>) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(isBus: true, BusMessageID.netControl, token: token, payload: 2 + command.count)
        put16(device)
        put(command)
        return token
    }

    public mutating func getDeviceInfo(device: UInt16) throws(MessageError) -> UInt16 {
        try request(TransportMessageID.getDeviceInfo, device)
    }

    public mutating func getDeviceFeatures(device: UInt16, first: UInt32 = 0, count: UInt32 = 2) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(TransportMessageID.getDeviceFeatures, device: device, token: token, payload: 8)
        put32(first)
        put32(count)
        return token
    }

    /// SET_DRIVER_FEATURES with blocks 0 and 1.
    public mutating func setDriverFeatures(device: UInt16, _ features: UInt64) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(TransportMessageID.setDriverFeatures, device: device, token: token, payload: 16)
        put32(0)
        put32(2)
        put64(features)
        return token
    }

    public mutating func getConfig(device: UInt16, offset: UInt32, length: UInt32) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(TransportMessageID.getConfig, device: device, token: token, payload: 8)
        put32(offset)
        put32(length)
        return token
    }

    public mutating func setConfig(device: UInt16, generation: UInt32, offset: UInt32, data: Span<UInt8>) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(TransportMessageID.setConfig, device: device, token: token, payload: 12 + data.count)
        put32(generation)
        put32(offset)
        put32(UInt32(data.count))
        put(data)
        return token
    }

    public mutating func getDeviceStatus(device: UInt16) throws(MessageError) -> UInt16 {
        try request(TransportMessageID.getDeviceStatus, device)
    }

    public mutating func setDeviceStatus(device: UInt16, _ status: DeviceStatus) throws(MessageError) -> UInt16 {
        try request(TransportMessageID.setDeviceStatus, device, status.rawValue)
    }

    public mutating func getVirtqueue(device: UInt16, index: UInt32) throws(MessageError) -> UInt16 {
        try request(TransportMessageID.getVirtqueue, device, index)
    }

    public mutating func setVirtqueue(device: UInt16, _ queue: QueueConfiguration) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(TransportMessageID.setVirtqueue, device: device, token: token, payload: 40)
        put32(queue.index)
        put32(0)
        put32(queue.size)
        put32(0)
        put64(queue.descriptors)
        put64(queue.driver)
        put64(queue.device)
        return token
    }

    public mutating func resetVirtqueue(device: UInt16, index: UInt32) throws(MessageError) -> UInt16 {
        try request(TransportMessageID.resetVirtqueue, device, index)
    }

    public mutating func getSharedMemory(device: UInt16, index: UInt32) throws(MessageError) -> UInt16 {
        try request(TransportMessageID.getSharedMemory, device, index)
    }

    /// EVENT_AVAIL: the doorbell of the driver side. VIRTIO_F_NOTIFICATION_DATA is never negotiated, so `next` is 0.
    public mutating func eventAvail(device: UInt16, queue: UInt32) throws(MessageError) {
        try begin(TransportMessageID.eventAvail, device: device, payload: 8)
        put32(queue)
        put32(0)
    }

    private mutating func request(_ id: UInt8, _ device: UInt16) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(id, device: device, token: token, payload: 0)
        return token
    }

    private mutating func request(_ id: UInt8, _ device: UInt16, _ value: UInt32) throws(MessageError) -> UInt16 {
        let token = nextToken()
        try begin(id, device: device, token: token, payload: 4)
        put32(value)
        return token
    }
}
