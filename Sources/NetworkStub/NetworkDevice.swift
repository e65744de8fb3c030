import CLinux
public import LinuxSystem
public import VhostUser
import VirtioNet
import Virtqueue

/// The network device of one life of a DD/OS (virtio 1.2, 5.1) between its queues and a TAP: for each pair, queue 2n receives and 2n + 1 transmits.
///
/// The control queue stays with QEMU. Everything it uses is allocated when it is made; nothing is allocated, locked or looked up by name for a packet.
public struct NetworkDevice: ~Copyable, VhostUserDevice {
    /// Both queues of a pair, and what is known of the TAP's.
    private struct Pair: ~Copyable {
        var receiver: Receiver
        var transmitter: Transmitter
        var tap: Int32 = -1
        /// The TAP has, or may have, packets.
        var isReadable = false
        /// The guest gave too few buffers: nothing is read before it kicks.
        var isStarved = false

        init(batches: Bool) {
            receiver = Receiver(batches: batches)
            transmitter = Transmitter(batches: batches)
        }
    }

    public static let mostPairs = 4
    public static var queueCount: Int { mostPairs * 2 }
    public static var longestQueue: UInt32 { 1024 }
    /// Batches of one queue in one turn; then others have theirs.
    static let batchesInTurn = 4

    public let pairCount: Int
    public let features: UInt64
    private var pairs: InlineArray<4, Pair>
    private var ring: IoUring
    private var negotiated: VirtioNetFeatures = []
    public private(set) var counters = PacketCounters()
    /// Something was left over at the end of a turn.
    private(set) var hasWork = false
    /// Whether packets of the host's are taken.
    private var takesPackets = true
    /// The driver has chosen features, and the TAP was not told yet.
    var offloadsAreNews = false
    /// Kick descriptors that changed: a bit for each queue.
    private(set) var changedKicks: UInt8 = 0

    /// For a TAP that stays attached as long as this value lives. To be made on the thread that uses it. Without `batches` each packet has a
    /// system call of its own.
    public init(tap: borrowing Tap, batches: Bool = true) throws(SystemError) {
        var descriptors: [Int32] = []
        for pair in 0..<tap.queueCount { descriptors.append(tap.descriptor(pair)) }
        try self.init(descriptors: descriptors, cutsDatagrams: tap.cutsDatagrams, batches: batches)
    }

    /// For descriptors that read and write whole packets with vnet headers, one for each pair.
    public init(descriptors: [Int32], cutsDatagrams: Bool, batches: Bool = true) throws(SystemError) {
        precondition(descriptors.count <= Self.mostPairs && !descriptors.isEmpty)
        ring = try IoUring(entries: UInt32(Transmitter.batchSize * 2))
        pairs = InlineArray { _ in Pair(batches: batches) }
        pairCount = descriptors.count
        features = Self.features(pairs: descriptors.count, cutsDatagrams: cutsDatagrams).rawValue
        for pair in 0..<pairCount { pairs[pair].tap = descriptors[pair] }
    }

    /// What this device and the host's TAP can do.
    private static func features(pairs: Int, cutsDatagrams: Bool) -> VirtioNetFeatures {
        var features: VirtioNetFeatures = [
            .checksum, .guestChecksum, .guestTSO4, .guestTSO6, .guestECN, .guestUFO, .hostTSO4, .hostTSO6, .hostECN, .hostUFO,
            .mergeableBuffers, .mtu, .status, .controlQueue, .controlReceive, .controlReceiveExtra, .controlVLAN, .controlMAC,
        ]
        if pairs > 1 { features.insert(.multipleQueues) }
        if cutsDatagrams { features.formUnion([.guestUSO4, .guestUSO6, .hostUSO]) }
        return features
    }

    /// What the kernel may leave to this driver.
    var offloads: TapOffloads {
        guard negotiated.contains(.guestChecksum) else { return [] }
        var offloads: TapOffloads = .checksum
        if negotiated.contains(.guestTSO4) { offloads.insert(.tcp4) }
        if negotiated.contains(.guestTSO6) { offloads.insert(.tcp6) }
        if negotiated.contains(.guestECN), !offloads.isDisjoint(with: [.tcp4, .tcp6]) { offloads.insert(.ecn) }
        if negotiated.contains(.guestUFO) { offloads.insert(.udp) }
        if negotiated.isSuperset(of: [.guestUSO4, .guestUSO6]) { offloads.insert(.datagrams) }
        return offloads
    }

    /// Whether the guest's driver serves the pair.
    func isRunning(_ pair: Int, _ rings: borrowing VringSet) -> Bool {
        rings.isRunning(pair * 2) && rings.isRunning(pair * 2 + 1)
    }

    /// Whether packets of the TAP's would be read: if so it is to be polled.
    func wantsPackets(_ pair: Int, _ rings: borrowing VringSet) -> Bool {
        takesPackets && rings.isRunning(pair * 2) && !pairs[pair].isStarved && !pairs[pair].isReadable
    }

    /// Takes packets of the host's from now on, or leaves them where they are: in the TAP's queue.
    mutating func setTakesPackets(_ takes: Bool) {
        guard takes != takesPackets else { return }
        takesPackets = takes
        // What became readable meanwhile is not polled for any more.
        for pair in 0..<pairCount where takes && pairs[pair].isReadable { hasWork = true }
    }

    /// The TAP's queue of this pair has become readable.
    public mutating func becameReadable(_ pair: Int) { pairs[pair].isReadable = true }

    /// The guest kicked a queue.
    public mutating func kicked(_ queue: Int) {
        if queue % 2 == 0 { pairs[queue / 2].isStarved = false }
    }

    /// The kick descriptors that changed since this was asked, a bit for each queue.
    mutating func takeChangedKicks() -> UInt8 {
        defer { changedKicks = 0 }
        return changedKicks
    }

    // MARK: VhostUserDevice

    /// QEMU has the configuration space, and the control queue.
    public var configuration: [UInt8] { [] }
    public var queuesOffered: Int { pairCount }

    public mutating func featuresNegotiated(_ features: UInt64) {
        negotiated = VirtioNetFeatures(rawValue: features)
        offloadsAreNews = true
    }

    public mutating func memoryMapped() {}
    public mutating func kickChanged(_ queue: Int) { changedKicks |= 1 << UInt8(queue) }

    public mutating func ringStops(_ queue: Int, _ rings: inout VringSet) {
        if queue % 2 == 0 { pairs[queue / 2].receiver.giveBackAll(queue, &rings) }
    }

    public mutating func ringStopped(_ queue: Int) { pairs[queue / 2].isStarved = false }

    public mutating func serve(_ rings: inout VringSet, rearm: Bool) throws(VhostUserError) -> Bool {
        var found = false
        hasWork = false
        for pair in 0..<pairCount {
            if rings.isRunning(pair * 2 + 1) { found = try transmit(pair, &rings, rearm: rearm) || found }
            if takesPackets, rings.isRunning(pair * 2), pairs[pair].isReadable { found = try receive(pair, &rings) || found }
        }
        return found
    }

    private mutating func transmit(_ pair: Int, _ rings: inout VringSet, rearm: Bool) throws(VhostUserError) -> Bool {
        let queue = pair * 2 + 1
        var found = false
        for _ in 0..<Self.batchesInTurn {
            let tap = pairs[pair].tap
            let taken = try pairs[pair].transmitter.serve(queue, &rings, negotiated, tap, &ring, &counters)
            if taken == 0 {
                guard rearm, rings.enableKicks(queue) else { return found }
                continue
            }
            found = true
            rings.publish()
        }
        hasWork = true
        return found
    }

    private mutating func receive(_ pair: Int, _ rings: inout VringSet) throws(VhostUserError) -> Bool {
        let queue = pair * 2
        var found = false
        for _ in 0..<Self.batchesInTurn {
            let tap = pairs[pair].tap
            let (packets, outcome) = try pairs[pair].receiver.serve(queue, &rings, negotiated, tap, &ring, &counters)
            if packets > 0 {
                found = true
                rings.publish()
            }
            switch outcome {
            case .more: continue
            case .empty:
                pairs[pair].isReadable = false
                return found
            case .starved:
                // What came between the look and the wish for a kick is there now.
                if rings.enableKicks(queue) { continue }
                pairs[pair].isStarved = true
                return found
            }
        }
        hasWork = true
        return found
    }
}
