/// The 12 bytes before each payload, in the machine's own byte order.
///
///     offset  field    written by
///     0       request  u32  front end; a reply repeats it
///     4       flags    u32  bits 0-1: version, 1; bit 2: a reply; bit 3: the front end wants an answer (REPLY_ACK)
///     8       size     u32  bytes of payload
struct MessageHeader: Equatable {
    static let byteCount = 12
    static let version: UInt32 = 1
    static let reply: UInt32 = 1 << 2
    static let needReply: UInt32 = 1 << 3

    var request: UInt32
    var flags: UInt32
    var size: UInt32

    init(request: UInt32, flags: UInt32, size: UInt32) {
        self.request = request
        self.flags = flags
        self.size = size
    }

    /// Checks the header (12 bytes) before a byte of payload is read.
    init(untrusted bytes: [UInt8]) throws(VhostUserError) {
        self.init(request: load(bytes, 0), flags: load(bytes, 4), size: load(bytes, 8))
        guard flags & ~Self.needReply == Self.version else { throw .flagsInvalid(request: request, flags: flags) }
        guard size <= FrontEndRequest.longestPayload else { throw .payloadSizeInvalid(request: request, size: size) }
    }

    var wantsReply: Bool { flags & Self.needReply != 0 }
}

/// One region of SET_MEM_TABLE, not checked against anything yet.
struct RegionDescription: Equatable {
    static let byteCount = 32

    /// Guest-physical address.
    var guestAddress: UInt64
    var size: UInt64
    /// Where the front end has it mapped: ring addresses are given in these.
    var userAddress: UInt64
    /// Offset in the file that came along.
    var fileOffset: UInt64
}

/// The three addresses of SET_VRING_ADDR: the front end's own virtual ones.
struct RingAddresses: Equatable {
    var descriptors: UInt64
    var used: UInt64
    var available: UInt64
}

/// A request of the front end with a well-formed payload. QEMU docs/interop/vhost-user.rst, "Front-end message types".
///
/// Only what this back end offers; the rest is ``VhostUserError/requestUnsupported(_:)``.
enum FrontEndRequest: Equatable {
    case getFeatures
    case setFeatures(UInt64)
    case setOwner
    case resetOwner
    case setMemoryTable([RegionDescription])
    case setRingSize(queue: UInt32, UInt32)
    case setRingAddresses(queue: UInt32, RingAddresses)
    case setRingBase(queue: UInt32, UInt16)
    case getRingBase(queue: UInt32)
    case setRingKick(queue: UInt32)
    /// Without a descriptor the front end wants no calls: it polls.
    case setRingCall(queue: UInt32, hasDescriptor: Bool)
    case setRingError(queue: UInt32, hasDescriptor: Bool)
    case getProtocolFeatures
    case setProtocolFeatures(UInt64)
    case getQueueCount
    case setRingEnable(queue: UInt32, Bool)
    case getConfiguration(offset: UInt32, size: UInt32)
    case setConfiguration(offset: UInt32, bytes: [UInt8])

    /// Memory slots without CONFIGURE_MEM_SLOTS (VHOST_MEMORY_BASELINE_NREGIONS).
    static let mostRegions = 8
    /// VHOST_USER_MAX_CONFIG_SIZE.
    static let longestConfiguration = 256
    /// Bytes: 12 of configuration header and the configuration; a memory table of 8 + 8 × 32 is shorter.
    static let longestPayload = 12 + UInt32(longestConfiguration)

    enum Code {
        static let getFeatures: UInt32 = 1
        static let setFeatures: UInt32 = 2
        static let setOwner: UInt32 = 3
        static let resetOwner: UInt32 = 4
        static let setMemoryTable: UInt32 = 5
        static let setRingSize: UInt32 = 8
        static let setRingAddresses: UInt32 = 9
        static let setRingBase: UInt32 = 10
        static let getRingBase: UInt32 = 11
        static let setRingKick: UInt32 = 12
        static let setRingCall: UInt32 = 13
        static let setRingError: UInt32 = 14
        static let getProtocolFeatures: UInt32 = 15
        static let setProtocolFeatures: UInt32 = 16
        static let getQueueCount: UInt32 = 17
        static let setRingEnable: UInt32 = 18
        static let getConfiguration: UInt32 = 24
        static let setConfiguration: UInt32 = 25
    }

    /// Checks the payload's size, every field that can be checked alone, and the number of descriptors that came along.
    init(untrusted header: MessageHeader, payload: [UInt8], descriptors: Int) throws(VhostUserError) {
        let request = header.request
        var expected = 0
        switch request {
        case Code.getFeatures, Code.setOwner, Code.resetOwner, Code.getProtocolFeatures, Code.getQueueCount:
            try Self.check(header, 0)
            self =
                switch request {
                case Code.getFeatures: .getFeatures
                case Code.setOwner: .setOwner
                case Code.resetOwner: .resetOwner
                case Code.getProtocolFeatures: .getProtocolFeatures
                default: .getQueueCount
                }
        case Code.setFeatures:
            try Self.check(header, 8)
            self = .setFeatures(load(payload, 0))
        case Code.setProtocolFeatures:
            try Self.check(header, 8)
            self = .setProtocolFeatures(load(payload, 0))
        case Code.setMemoryTable:
            let regions = try Self.regions(header, payload)
            expected = regions.count
            self = .setMemoryTable(regions)
        case Code.setRingSize, Code.setRingBase, Code.getRingBase, Code.setRingEnable:
            try Self.check(header, 8)
            self = try Self.ringState(request, queue: load(payload, 0), number: load(payload, 4))
        case Code.setRingAddresses:
            try Self.check(header, 40)
            // Bit 0 asks to log writes, for a migration that was never offered; there are no others.
            guard load(payload, 4) as UInt32 == 0 else { throw .fieldInvalid(request: request, field: .ringFlags) }
            self = .setRingAddresses(
                queue: load(payload, 0),
                RingAddresses(descriptors: load(payload, 8), used: load(payload, 16), available: load(payload, 24)))
        case Code.setRingKick, Code.setRingCall, Code.setRingError:
            try Self.check(header, 8)
            self = try Self.ringDescriptor(request, load(payload, 0), &expected)
        case Code.getConfiguration, Code.setConfiguration:
            self = try Self.configuration(header, payload)
        default:
            throw .requestUnsupported(request)
        }
        guard descriptors == expected else {
            throw .descriptorCountInvalid(request: request, expected: expected, found: descriptors)
        }
    }

    private static func check(_ header: MessageHeader, _ size: UInt32) throws(VhostUserError) {
        guard header.size == size else { throw .payloadSizeInvalid(request: header.request, size: header.size) }
    }

    /// `{ count u32, padding u32, regions[count] }`.
    private static func regions(_ header: MessageHeader, _ payload: [UInt8]) throws(VhostUserError) -> [RegionDescription] {
        guard header.size >= 8 else { throw .payloadSizeInvalid(request: header.request, size: header.size) }
        let count: UInt32 = load(payload, 0)
        guard count >= 1, count <= mostRegions else { throw .fieldInvalid(request: header.request, field: .regionCount) }
        try check(header, 8 + count * UInt32(RegionDescription.byteCount))
        return (0..<Int(count)).map { index in
            let start = 8 + index * RegionDescription.byteCount
            return RegionDescription(
                guestAddress: load(payload, start), size: load(payload, start + 8), userAddress: load(payload, start + 16),
                fileOffset: load(payload, start + 24))
        }
    }

    private static func ringState(_ request: UInt32, queue: UInt32, number: UInt32) throws(VhostUserError) -> FrontEndRequest {
        switch request {
        case Code.setRingSize:
            guard number > 0, number <= 32768, number & (number - 1) == 0 else { throw .fieldInvalid(request: request, field: .ringSize) }
            return .setRingSize(queue: queue, number)
        case Code.setRingBase:
            guard let base = UInt16(exactly: number) else { throw .fieldInvalid(request: request, field: .ringBase) }
            return .setRingBase(queue: queue, base)
        case Code.setRingEnable:
            guard number <= 1 else { throw .fieldInvalid(request: request, field: .ringEnable) }
            return .setRingEnable(queue: queue, number == 1)
        default:
            return .getRingBase(queue: queue)
        }
    }

    /// u64: bits 0-7 the queue, bit 8 says that no descriptor comes along.
    private static func ringDescriptor(_ request: UInt32, _ value: UInt64, _ expected: inout Int) throws(VhostUserError) -> FrontEndRequest
    {
        guard value & ~0x1ff == 0 else { throw .fieldInvalid(request: request, field: .ringIndex) }
        let queue = UInt32(value & 0xff)
        let hasDescriptor = value & 0x100 == 0
        expected = hasDescriptor ? 1 : 0
        switch request {
        case Code.setRingKick:
            // Without one the back end would have to spin on the ring for ever.
            guard hasDescriptor else { throw .fieldInvalid(request: request, field: .descriptorPresence) }
            return .setRingKick(queue: queue)
        case Code.setRingCall:
            return .setRingCall(queue: queue, hasDescriptor: hasDescriptor)
        default:
            return .setRingError(queue: queue, hasDescriptor: hasDescriptor)
        }
    }

    /// `{ offset u32, size u32, flags u32, bytes[size] }`. The bytes are there in both directions.
    private static func configuration(_ header: MessageHeader, _ payload: [UInt8]) throws(VhostUserError) -> FrontEndRequest {
        guard header.size >= 12 else { throw .payloadSizeInvalid(request: header.request, size: header.size) }
        let offset: UInt32 = load(payload, 0)
        let size: UInt32 = load(payload, 4)
        let flags: UInt32 = load(payload, 8)
        guard size > 0, size <= longestConfiguration, offset <= longestConfiguration, offset + size <= longestConfiguration else {
            throw .fieldInvalid(request: header.request, field: .configurationRange)
        }
        try check(header, 12 + size)
        guard flags <= 1 else { throw .fieldInvalid(request: header.request, field: .configurationFlags) }
        if header.request == Code.getConfiguration { return .getConfiguration(offset: offset, size: size) }
        return .setConfiguration(offset: offset, bytes: [UInt8](payload[12..<(12 + Int(size))]))
    }
}

/// A field of a message, in the machine's byte order, which is little-endian wherever Drover runs.
private func load<Value: FixedWidthInteger & UnsignedInteger>(_ bytes: [UInt8], _ offset: Int) -> Value {
    var value: Value = 0
    for index in (0..<Value.bitWidth / 8).reversed() { value = value << 8 | Value(bytes[offset + index]) }
    return value
}
