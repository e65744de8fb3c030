internal import VirtioMessage
internal import Virtqueue

/// One virtio-blk device: its status machine, features, configuration space and queues (virtio 1.2, sections 2 and 5.2).
struct ServedDevice: ~Copyable {
    let number: UInt16
    let disk: ServedDisk
    /// The configuration space, as the driver reads it.
    let configuration: [UInt8]
    /// Changes when `configuration` does. Drover's disks do not change while a session lasts.
    let generation: UInt32 = 1
    let features: UInt64
    let bounds: BlockBounds
    private(set) var driverFeatures: UInt64 = 0
    /// The driver asked for features that no device has.
    private var askedForUnknown = false
    private(set) var status: DeviceStatus = []
    var queues: FixedArray<ServedQueue>
    /// The token of a SET_DEVICE_STATUS(0) that waits until nothing is in flight.
    private(set) var resetToken: UInt16?

    init(number: UInt16, disk: consuming ServedDisk, queueCount: Int) {
        self.number = number
        let description = disk.description
        bounds = BlockBounds(description)
        features = BlockFeatures.offered(for: description)
        configuration = BlockFeatures.configuration(for: description, queueCount: queueCount)
        queues = FixedArray(count: queueCount) { ServedQueue(index: UInt32($0)) }
        self.disk = disk
    }

    /// Requests may be taken from the queues.
    var isRunning: Bool {
        status.contains([.featuresOK, .driverOK]) && !status.contains(.needsReset) && !status.contains(.failed) && resetToken == nil
    }

    var isResetting: Bool { resetToken != nil }

    /// Whether a reset, of the device or a queue, waits for requests in flight.
    var hasPendingReset: Bool {
        if resetToken != nil { return true }
        for index in 0..<queues.count where queues[index].resetToken != nil { return true }
        return false
    }

    var inFlight: Int {
        var total = 0
        for index in 0..<queues.count { total += queues[index].inFlight }
        return total
    }

    // MARK: what the driver does

    mutating func setDriverFeatures(_ blocks: FeatureBlocks) {
        // After FEATURES_OK they are settled (virtio 1.2, 3.1.1): what comes then is ignored.
        guard !status.contains(.featuresOK), !isResetting else { return }
        driverFeatures = driverFeatures & ~blocks.coverage | blocks.bits
        if blocks.hasUnknownBits { askedForUnknown = true }
    }

    /// SET_DEVICE_STATUS with anything but 0: bits are only ever added.
    /// - Returns: the status that results.
    mutating func addStatus(_ wanted: DeviceStatus) -> DeviceStatus {
        guard !isResetting else { return status }
        let known: DeviceStatus = [.acknowledge, .driver, .driverOK, .featuresOK, .failed]
        var added = wanted.intersection(known).subtracting(status)
        if added.contains(.featuresOK) {
            let isAcceptable =
                driverFeatures & ~features == 0 && driverFeatures & TransportFeature.version1 != 0 && !askedForUnknown
            if !isAcceptable { added.remove(.featuresOK) }
        }
        if added.contains(.driverOK), !status.union(added).contains(.featuresOK) { added.remove(.driverOK) }
        status.formUnion(added)
        return status
    }

    /// SET_DEVICE_STATUS(0): takes nothing more; `finishReset` follows when nothing is in flight.
    mutating func beginReset(token: UInt16) {
        resetToken = token
    }

    /// Ends a reset that was begun, if nothing is in flight any more.
    /// - Returns: the token to answer; nil: no reset, or not yet.
    mutating func finishReset() -> UInt16? {
        guard let token = resetToken, inFlight == 0 else { return nil }
        resetToken = nil
        status = []
        driverFeatures = 0
        askedForUnknown = false
        for index in 0..<queues.count { queues[index].reset() }
        return token
    }

    /// The driver broke the rules: it has to reset the device before anything goes on.
    mutating func breakDown() {
        status.insert(.needsReset)
    }

    /// SET_VQUEUE.
    mutating func setQueue(_ wanted: QueueConfiguration, in memory: PoolMemory) throws(QueueRefusal) {
        guard wanted.index < UInt32(queues.count) else { throw .noSuchQueue }
        guard status.contains(.featuresOK), !isResetting else { throw .notNegotiated }
        let index = Int(wanted.index)
        guard queues[index].ring == nil else { throw .isSetUp }
        guard wanted.size <= ServedQueue.maximumSize else { throw .tooLarge }
        do throws(VirtqueueError) {
            let layout = try VirtqueueLayout(
                untrustedSize: wanted.size, descriptors: wanted.descriptors, driver: wanted.driver, device: wanted.device,
                in: memory)
            let ring = try DeviceVirtqueue(layout, in: memory, features: VirtqueueFeatures(rawValue: driverFeatures))
            queues[index].ring = consume ring
        } catch {
            throw .layout(error)
        }
        queues[index].configuration.size = wanted.size
        queues[index].configuration.descriptors = wanted.descriptors
        queues[index].configuration.driver = wanted.driver
        queues[index].configuration.device = wanted.device
    }
}

/// Why SET_VQUEUE was refused.
enum QueueRefusal: Error {
    case noSuchQueue
    case notNegotiated
    case isSetUp
    case tooLarge
    case layout(VirtqueueError)

    var text: String {
        switch self {
        case .noSuchQueue: "there is no such queue"
        case .notNegotiated: "features are not settled"
        case .isSetUp: "the queue is set up already"
        case .tooLarge: "the queue is larger than offered"
        case .layout(let error): error.description
        }
    }
}
