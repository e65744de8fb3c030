internal import VirtioMessage
internal import VirtioNet

/// The virtio-net device that a network DD/OS offers over virtio-msg: no virtqueues, a configuration space that follows the NIC
/// (virtio 1.2, 2.1 and 5.1).
struct NetworkDevice {
    /// Commands and fields that there are; nothing of it concerns packets, which go another way.
    static let features: VirtioNetFeatures = [
        .mac, .status, .mtu, .speedDuplex, .controlQueue, .controlReceive, .controlVLAN, .controlMAC, .version1,
    ]

    private(set) var configuration: [UInt8] = []
    /// Changes when `configuration` does.
    private(set) var generation: UInt32 = 0
    private(set) var status: DeviceStatus = []
    private(set) var driverFeatures: UInt64 = 0
    private var askedForUnknown = false

    /// Takes the configuration as it is now.
    /// - Returns: whether it is another.
    mutating func update(_ now: VirtioNetConfiguration) -> Bool {
        let bytes = (0..<VirtioNetConfiguration.byteCount).map { now.byte($0) }
        guard bytes != configuration else { return false }
        configuration = bytes
        generation &+= 1
        return true
    }

    mutating func setDriverFeatures(_ blocks: FeatureBlocks) {
        // After FEATURES_OK they are settled (virtio 1.2, 3.1.1).
        guard !status.contains(.featuresOK) else { return }
        driverFeatures = driverFeatures & ~blocks.coverage | blocks.bits
        if blocks.hasUnknownBits { askedForUnknown = true }
    }

    /// SET_DEVICE_STATUS: 0 resets, other bits are only ever added.
    mutating func setStatus(_ wanted: DeviceStatus) -> DeviceStatus {
        guard !wanted.isEmpty else {
            status = []
            driverFeatures = 0
            askedForUnknown = false
            return status
        }
        var added = wanted.intersection([.acknowledge, .driver, .driverOK, .featuresOK, .failed]).subtracting(status)
        if added.contains(.featuresOK) {
            let isAcceptable =
                driverFeatures & ~Self.features.rawValue == 0 && driverFeatures & TransportFeature.version1 != 0 && !askedForUnknown
            if !isAcceptable { added.remove(.featuresOK) }
        }
        if added.contains(.driverOK), !status.union(added).contains(.featuresOK) { added.remove(.driverOK) }
        status.formUnion(added)
        return status
    }
}
