/// The network interface that a DD/OS offers, as its driver reports it. Sent when a session begins, and when anything of it changes.
public struct StubInterface: Codable, Sendable, Equatable {
    /// The driver in the guest, for instance `e1000e`.
    public var driver: String
    /// What the driver says of its version and of its device's firmware and place; empty where it says nothing.
    public var driverVersion: String
    public var firmwareVersion: String
    public var busInfo: String
    /// `52:54:00:12:34:56`.
    public var mac: String
    /// The address in the device's ROM; empty where the driver does not know.
    public var permanentMAC: String
    /// Bytes of payload of an Ethernet frame.
    public var mtu: UInt32
    public var smallestMTU: UInt32
    public var largestMTU: UInt32
    /// Whether the wire is connected.
    public var hasCarrier: Bool
    /// Mbit/s; nil: not known.
    public var speed: UInt32?
    /// Nil: not known.
    public var isFullDuplex: Bool?
    public var isPromiscuous: Bool
    /// Nil: the driver has no say in it.
    public var ring: StubRing?
    /// Nil: the driver has no say in it.
    public var coalescing: StubCoalescing?

    public init(driver: String, mac: String, mtu: UInt32) {
        self.driver = driver
        driverVersion = ""
        firmwareVersion = ""
        busInfo = ""
        self.mac = mac
        permanentMAC = ""
        self.mtu = mtu
        smallestMTU = 68
        largestMTU = mtu
        hasCarrier = false
        speed = nil
        isFullDuplex = nil
        isPromiscuous = false
        ring = nil
        coalescing = nil
    }
}

/// Descriptors in the NIC's own rings.
public struct StubRing: Codable, Sendable, Equatable {
    public var receive: UInt32
    public var receiveMost: UInt32
    public var transmit: UInt32
    public var transmitMost: UInt32

    public init(receive: UInt32, receiveMost: UInt32, transmit: UInt32, transmitMost: UInt32) {
        self.receive = receive
        self.receiveMost = receiveMost
        self.transmit = transmit
        self.transmitMost = transmitMost
    }
}

/// How long the NIC holds its interrupts back. Nil: the driver has no such setting.
public struct StubCoalescing: Codable, Sendable, Equatable {
    public var receiveMicroseconds: UInt32?
    public var receiveFrames: UInt32?
    public var transmitMicroseconds: UInt32?
    public var transmitFrames: UInt32?

    public init(
        receiveMicroseconds: UInt32? = nil, receiveFrames: UInt32? = nil, transmitMicroseconds: UInt32? = nil, transmitFrames: UInt32? = nil
    ) {
        self.receiveMicroseconds = receiveMicroseconds
        self.receiveFrames = receiveFrames
        self.transmitMicroseconds = transmitMicroseconds
        self.transmitFrames = transmitFrames
    }
}

/// What to change of a DD/OS's interface; nil leaves a setting as it is. The client stub remembers all of it, and
/// sets it again in every new life.
public struct StubInterfaceSettings: Codable, Sendable, Equatable {
    public var mac: String?
    public var mtu: UInt32?
    public var isPromiscuous: Bool?
    public var receiveRing: UInt32?
    public var transmitRing: UInt32?
    public var coalescing: StubCoalescing?

    public init() {}
}

/// One of the driver's own counters, as `ethtool -S` prints them.
public struct StubStatistic: Codable, Sendable, Equatable {
    public var name: String
    public var value: UInt64

    public init(name: String, value: UInt64) {
        self.name = name
        self.value = value
    }
}

/// What a client stub is asked about its interface.
public enum StubInterfaceRequest: Codable, Sendable, Equatable {
    /// Ask the driver anew, and report.
    case describe
    /// Change; the reply describes the interface as it is then, or says which setting the driver refused, and why.
    case set(StubInterfaceSettings)
    /// The driver's own counters.
    case statistics
}

/// Packets between the host's interface and the DD/OS, since the client stub started.
public struct StubInterfaceCounters: Codable, Sendable, Equatable {
    /// From the wire to the host.
    public var receivedPackets: UInt64 = 0
    public var receivedBytes: UInt64 = 0
    /// From the host to the wire.
    public var sentPackets: UInt64 = 0
    public var sentBytes: UInt64 = 0
    /// Refused for their header, or by the interface.
    public var droppedPackets: UInt64 = 0

    public init() {}
}
