/// A virtio device that lives behind vhost-user: what ``BackendConnection`` needs of it. Used as a generic parameter, never as an existential.
///
/// The connection calls these from its own methods, on the thread that calls those. Anything thrown ends the session.
public protocol VhostUserDevice: ~Copyable {
    /// Queues that the back end serves, 1 to ``VringSet/most``.
    static var queueCount: Int { get }
    /// What GET_QUEUE_NUM answers.
    var queuesOffered: Int { get }
    /// The longest queue it takes, a power of two.
    static var longestQueue: UInt32 { get }
    /// Device feature bits to offer (virtio 1.2, the device's "Feature bits"); VERSION_1 and the ring features are added.
    var features: UInt64 { get }
    /// The device's configuration space, little-endian (at most 256 bytes); empty: the VMM has it.
    var configuration: [UInt8] { get }
    /// The driver's choice.
    mutating func featuresNegotiated(_ features: UInt64)
    /// Guest memory is (again) mapped.
    mutating func memoryMapped()
    /// `queue` has another kick descriptor, or none any more.
    mutating func kickChanged(_ queue: Int)
    /// `queue` is about to stop, or to move to other memory: what was taken and kept is to be given back now.
    mutating func ringStops(_ queue: Int, _ rings: inout VringSet)
    /// `queue` stopped: the driver is being reset, or the VMM pauses. Everything that was taken has been given back.
    mutating func ringStopped(_ queue: Int)
    /// Serves what is there, within a bounded amount of work. `rearm`: ask for kicks before returning, and look once more.
    /// True if there was anything.
    mutating func serve(_ rings: inout VringSet, rearm: Bool) throws(VhostUserError) -> Bool
}

extension VhostUserDevice where Self: ~Copyable {
    public var queuesOffered: Int { Self.queueCount }
    public mutating func ringStops(_ queue: Int, _ rings: inout VringSet) {}
}

/// Feature bits that are the same for every device (virtio 1.2, section 6; vhost-user for bit 30).
enum CommonFeature {
    static let indirectDescriptors: UInt64 = 1 << 28
    static let eventIndex: UInt64 = 1 << 29
    static let protocolFeatures: UInt64 = 1 << 30
    static let version1: UInt64 = 1 << 32
    static let offered = indirectDescriptors | eventIndex | protocolFeatures | version1
}

/// vhost-user protocol features.
enum ProtocolFeature {
    static let multipleQueues: UInt64 = 1 << 0
    static let replyAcknowledge: UInt64 = 1 << 3
    static let configuration: UInt64 = 1 << 9
    static let offered = multipleQueues | replyAcknowledge | configuration
}
