public import ClientStub
public import VirtioMessage
import VirtioNet

/// How far a network DD/OS is on its way to a session. One request is out at a time; each has a deadline.
struct NetworkHandshake {
    enum Step: Equatable {
        case awaitingPool, devices, info, reset, acknowledge, features, setFeatures, featuresOK, config, driverOK, settling

        /// For "no answer while …".
        var description: String {
            switch self {
            case .awaitingPool: "waiting for its first message"
            case .devices: "listing devices"
            case .info: "reading the device's description"
            case .reset: "resetting the device"
            case .acknowledge: "acknowledging the device"
            case .features, .setFeatures, .featuresOK: "negotiating features"
            case .config: "reading the device's configuration"
            case .driverOK: "starting the device"
            case .settling: "describing and setting the interface"
            }
        }
    }

    /// Of the whole handshake. Nanoseconds of the loop's clock.
    let deadline: UInt64
    /// Of the step under way.
    var stepDeadline: UInt64
    var step = Step.awaitingPool
    /// What the answer has to carry.
    var token: UInt16 = 0

    /// Features that the client stub can use.
    static let wanted: VirtioNetFeatures = [.mac, .status, .mtu, .speedDuplex, .controlQueue, .version1]
}

extension NetworkSession {
    /// The DD/OS has connected: its first message says that it shares no memory.
    public mutating func beginSession(now: UInt64) {
        self.now = now
        handshake = NetworkHandshake(deadline: now &+ configuration.handshakeTimeout, stepDeadline: now &+ configuration.stepTimeout)
        isSettled = false
    }

    public mutating func poolArrived(_ region: consuming PoolRegion, _ outbox: inout MessageOutbox, now: UInt64) throws(SessionEnd) {
        throw .violation("a network DD/OS that shares memory: its image or its drover.class= is for another class")
    }

    /// Takes the answer to the handshake's request that is out, and sends the next (virtio 1.2, 3.1).
    mutating func advance(
        _ message: DeviceMessage, _ header: MessageHeader, _ bytes: Span<UInt8>, _ outbox: inout MessageOutbox
    ) throws(SessionEnd) {
        guard let hand = handshake else { return }
        guard hand.step != .awaitingPool, hand.step != .settling, header.token == hand.token, header.isBus || header.device == device else {
            throw .violation("an answer that nobody asked for (message \(header.id))")
        }
        let device = device
        switch (hand.step, message) {
        case (.devices, .devices(let window)):
            guard window.offset == 0, window.next == 0 else { throw .violation("more devices than a bus holds") }
            guard window.present.nonzeroBitCount == 1 else {
                throw .violation(window.present == 0 ? "the DD/OS offers no network interface" : "the DD/OS offers more than one device")
            }
            self.device = UInt16(window.present.trailingZeroBitCount)
            let number = self.device
            try ask(.info, &outbox) { outbox throws(MessageError) in try outbox.getDeviceInfo(device: number) }
        case (.info, .deviceInfo(let info)):
            guard info.deviceID == 1 else { throw .violation("device \(device) is no network interface (virtio type \(info.deviceID))") }
            try askStatus(.reset, [], &outbox)
        case (.reset, .deviceStatusSet(let status)):
            guard status == [] else { throw .violation("the interface does not reset") }
            try askStatus(.acknowledge, [.acknowledge, .driver], &outbox)
        case (.acknowledge, .deviceStatusSet(let status)):
            try check(status, has: [.acknowledge, .driver])
            try ask(.features, &outbox) { outbox throws(MessageError) in try outbox.getDeviceFeatures(device: device) }
        case (.features, .deviceFeatures(let blocks)):
            guard blocks.first == 0, blocks.count == 2 else { throw .violation("the interface answers for other features") }
            let features = VirtioNetFeatures(rawValue: blocks.bits).intersection(NetworkHandshake.wanted)
            guard features.contains(.version1) else { throw .violation("the interface is a legacy device") }
            try ask(.setFeatures, &outbox) { outbox throws(MessageError) in
                try outbox.setDriverFeatures(device: device, features.rawValue)
            }
        case (.setFeatures, .driverFeaturesSet):
            try askStatus(.featuresOK, [.acknowledge, .driver, .featuresOK], &outbox)
        case (.featuresOK, .deviceStatusSet(let status)):
            try check(status, has: [.acknowledge, .driver, .featuresOK])
            try ask(.config, &outbox) { outbox throws(MessageError) in
                try outbox.getConfig(device: device, offset: 0, length: UInt32(VirtioNetConfiguration.byteCount))
            }
        case (.config, .config(_, let offset, let data)):
            guard offset == 0 else { throw .violation("the interface answers for another part of its configuration") }
            _ = try decodedConfiguration(bytes, data)
            try askStatus(.driverOK, [.acknowledge, .driver, .featuresOK, .driverOK], &outbox)
        case (.driverOK, .deviceStatusSet(let status)):
            try check(status, has: [.acknowledge, .driver, .featuresOK, .driverOK])
            handshake?.step = .settling
            handshake?.stepDeadline = .max
            jobs.append(InterfaceJob(.settle, steps: settings.steps))
            try issue(&outbox)
        default:
            throw .violation("an answer that nobody asked for (message \(header.id))")
        }
    }

    /// A configuration space in a message.
    func decodedConfiguration(_ bytes: Span<UInt8>, _ data: MessageData) throws(SessionEnd) -> VirtioNetConfiguration {
        guard data.count >= VirtioNetConfiguration.byteCount, data.offset + data.count <= bytes.count else {
            throw .violation("the interface's configuration is too short")
        }
        guard let found = VirtioNetConfiguration(untrusted: bytes.extracting(data.offset..<(data.offset + data.count))) else {
            throw .violation("the interface's configuration cannot be")
        }
        return found
    }

    mutating func firstMessageArrived(_ outbox: inout MessageOutbox) throws(SessionEnd) {
        guard handshake?.step == .awaitingPool else { throw .violation("a second pool") }
        liveness.begin(at: now)
        try ask(.devices, &outbox) { outbox throws(MessageError) in try outbox.getDevices(offset: 0, count: 64) }
    }

    private mutating func askStatus(
        _ step: NetworkHandshake.Step, _ status: DeviceStatus, _ outbox: inout MessageOutbox
    ) throws(SessionEnd) {
        let device = device
        try ask(step, &outbox) { outbox throws(MessageError) in try outbox.setDeviceStatus(device: device, status) }
    }

    private mutating func ask(
        _ step: NetworkHandshake.Step, _ outbox: inout MessageOutbox, _ body: (inout MessageOutbox) throws(MessageError) -> UInt16
    ) throws(SessionEnd) {
        do {
            handshake?.token = try body(&outbox)
        } catch {
            throw .violation("the server stub does not read its messages")
        }
        handshake?.step = step
        handshake?.stepDeadline = now &+ configuration.stepTimeout
    }

    private func check(_ status: DeviceStatus, has wanted: DeviceStatus) throws(SessionEnd) {
        guard status == wanted else { throw .violation("the interface has status \(status.rawValue) where \(wanted.rawValue) was set") }
    }
}
