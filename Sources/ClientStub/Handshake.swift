import VirtioBlock
import VirtioMessage

/// How far a DD/OS is on its way to a session. One request is out at a time; each has a deadline.
struct Handshake {
    enum Step: Equatable {
        case awaitingPool, devices, info, reset, acknowledge, features, setFeatures, featuresOK, config, queue, setQueue, driverOK, identity

        /// For "no answer while …".
        var description: String {
            switch self {
            case .awaitingPool: "waiting for the pool"
            case .devices: "listing devices"
            case .info: "reading a device's description"
            case .reset: "resetting a device"
            case .acknowledge: "acknowledging a device"
            case .features: "reading a device's features"
            case .setFeatures, .featuresOK: "negotiating features"
            case .config: "reading a disk's configuration"
            case .queue: "reading a queue's size"
            case .setQueue: "setting up a queue"
            case .driverOK: "starting a device"
            case .identity: "reading a disk's serial number"
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
    /// Device numbers still to be set up, in order.
    var devices: [UInt16] = []
    var names: [UInt16: String] = [:]
    /// Of the device under way.
    var features: UInt64 = 0
    var configurationSize: UInt32 = 0
    var disk: BlockExport?
    /// Of the pool.
    var poolBytes: UInt64 = 0
    /// The first byte of the pool that no queue has.
    var nextByte: UInt64 = 0
    /// The exports of this session, while they are unknown.
    var found: [BlockExport] = []
    /// Their serial numbers.
    var serials: [String] = []
    /// Of the request for the serial number under way.
    var control: UInt16 = 0

    init(deadline: UInt64, stepDeadline: UInt64) {
        self.deadline = deadline
        self.stepDeadline = stepDeadline
    }

    /// Features that the client stub can use.
    static let wanted: VirtioBlockFeatures = [
        .maximumSegmentSize, .maximumSegments, .readOnly, .blockSize, .flush, .topology, .discard, .writeZeroes, .indirectDescriptors,
        .eventIndex, .version1,
    ]
}
