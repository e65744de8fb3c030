internal import VirtioMessage
internal import Virtqueue

/// A virtqueue of a device: its ring once the driver has set it up, and what is under way on it.
struct ServedQueue: ~Copyable {
    /// nil until SET_VQUEUE.
    var ring: DeviceVirtqueue?
    /// What the driver asked for, for GET_VQUEUE.
    var configuration: QueueConfiguration
    /// Requests taken and not given back.
    var inFlight = 0
    /// Used entries were published, and the driver wants to know.
    var owesDoorbell = false
    /// Chains were given back since the last doorbell, because the driver seemed to be looking.
    var hasSilentUsed = false
    /// The driver has broken the rules here: nothing is taken any more until a reset.
    var isBroken = false
    /// The token of a RESET_VQUEUE that waits until nothing is in flight.
    var resetToken: UInt16?

    static let maximumSize: UInt32 = 256

    init(index: UInt32) {
        configuration = QueueConfiguration(
            index: index, maximumSize: Self.maximumSize, size: 0, descriptors: 0, driver: 0, device: 0)
    }

    /// Whether chains may be taken here at all.
    var canTake: Bool {
        if isBroken || resetToken != nil { return false }
        return ring != nil
    }

    /// Whether a chain is there to be taken.
    var hasAvailable: Bool {
        guard canTake else { return false }
        switch ring {
        case .some(let ring): return ring.hasAvailable
        case .none: return false
        }
    }

    /// Back to what it was before SET_VQUEUE. Only when nothing is in flight.
    mutating func reset() {
        let index = configuration.index
        self = ServedQueue(index: index)
    }
}
