/// All that a driver says of its NIC: the result of ``NetControlCommand/describe``.
///
///      offset  size  field                        offset  size  field
///           0     6  mac                              40     4  transmit ring
///           6     6  permanent mac, 0: not known      44     4  transmit ring, most
///          12     4  flags, see `Flags`               48     4  receive coalescing, µs
///          16     4  mtu                              52     4  receive coalescing, packets
///          20     4  smallest mtu                     56     4  transmit coalescing, µs
///          24     4  largest mtu                      60     4  transmit coalescing, packets
///          28     4  speed, Mbit/s                    64    32  driver
///          32     4  receive ring                     96    32  driver's version
///          36     4  receive ring, most              128    32  firmware's version
///                                                    160    32  bus address in the DD/OS
///                                                    192    16  interface's name in the DD/OS
///
/// A field whose flag is not set is zero. Texts end with zeroes.
public struct NetDescription: Equatable, Sendable {
    public static let byteCount = 208

    /// Which optional fields mean something, and the booleans.
    public struct Flags: OptionSet, Equatable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        public static let carrier = Flags(rawValue: 1 << 0)
        public static let promiscuous = Flags(rawValue: 1 << 1)
        public static let allMulticast = Flags(rawValue: 1 << 2)
        public static let knowsSpeed = Flags(rawValue: 1 << 3)
        public static let knowsDuplex = Flags(rawValue: 1 << 4)
        public static let fullDuplex = Flags(rawValue: 1 << 5)
        public static let hasRing = Flags(rawValue: 1 << 6)
        public static let hasReceiveMicroseconds = Flags(rawValue: 1 << 7)
        public static let hasReceivePackets = Flags(rawValue: 1 << 8)
        public static let hasTransmitMicroseconds = Flags(rawValue: 1 << 9)
        public static let hasTransmitPackets = Flags(rawValue: 1 << 10)
        static let all: UInt32 = 1 << 11 - 1
    }

    /// Addresses in the low 48 bits, the first octet highest; 0: not known.
    public var mac: UInt64 = 0
    public var permanentMAC: UInt64 = 0
    public var flags: Flags = []
    /// Bytes of payload of a frame.
    public var mtu: UInt32 = 0
    public var smallestMTU: UInt32 = 0
    public var largestMTU: UInt32 = 0
    /// Mbit/s.
    public var speed: UInt32 = 0
    /// Descriptors.
    public var receiveRing: UInt32 = 0
    public var receiveRingMost: UInt32 = 0
    public var transmitRing: UInt32 = 0
    public var transmitRingMost: UInt32 = 0
    public var receiveMicroseconds: UInt32 = 0
    public var receivePackets: UInt32 = 0
    public var transmitMicroseconds: UInt32 = 0
    public var transmitPackets: UInt32 = 0
    public var driver = ""
    public var driverVersion = ""
    public var firmwareVersion = ""
    public var busAddress = ""
    public var interface = ""

    public init() {}

    public static func == (left: NetDescription, right: NetDescription) -> Bool { left.encoded() == right.encoded() }

    /// Decodes and checks. Of texts only printable ASCII is kept: they are shown to people.
    public init(untrusted bytes: Span<UInt8>) throws(NetControlError) {
        guard bytes.count == Self.byteCount else { throw .wrongSize }
        mac = bytes.mac(at: 0)
        permanentMAC = bytes.mac(at: 6)
        flags = Flags(rawValue: bytes.number(at: 12))
        mtu = bytes.number(at: 16)
        smallestMTU = bytes.number(at: 20)
        largestMTU = bytes.number(at: 24)
        speed = bytes.number(at: 28)
        receiveRing = bytes.number(at: 32)
        receiveRingMost = bytes.number(at: 36)
        transmitRing = bytes.number(at: 40)
        transmitRingMost = bytes.number(at: 44)
        receiveMicroseconds = bytes.number(at: 48)
        receivePackets = bytes.number(at: 52)
        transmitMicroseconds = bytes.number(at: 56)
        transmitPackets = bytes.number(at: 60)
        driver = bytes.field(at: 64, 32)
        driverVersion = bytes.field(at: 96, 32)
        firmwareVersion = bytes.field(at: 128, 32)
        busAddress = bytes.field(at: 160, 32)
        interface = bytes.field(at: 192, 16)
        // A host interface gets this address and this MTU: nothing that Linux would refuse, or that is no frame's size.
        guard flags.rawValue & ~Flags.all == 0, mac != 0, mac >> 40 & 1 == 0, permanentMAC >> 40 & 1 == 0, mtu >= 68, mtu <= 65535,
            smallestMTU <= mtu, largestMTU >= mtu, largestMTU <= 65535
        else { throw .invalid }
    }

    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        bytes.putMAC(mac)
        bytes.putMAC(permanentMAC)
        for value in [
            flags.rawValue, mtu, smallestMTU, largestMTU, speed, receiveRing, receiveRingMost, transmitRing, transmitRingMost,
            receiveMicroseconds, receivePackets, transmitMicroseconds, transmitPackets,
        ] { bytes.put32(value) }
        for text in [driver, driverVersion, firmwareVersion, busAddress] { bytes.putText(text, 32) }
        bytes.putText(interface, 16)
        return bytes
    }
}
