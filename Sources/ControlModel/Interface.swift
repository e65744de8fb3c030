/// The host's interface of a network DD/OS, in short: part of ``DDOSSummary``.
public struct InterfaceSummary: Codable, Sendable, Equatable {
    /// `dr-eth0`.
    public var name: String
    /// The network namespace that it is in; nil: the supervisor's own.
    public var namespace: String?
    /// The bridge that it is a port of.
    public var bridge: String?
    /// The driver in the guest, for instance `e1000e`; nil before the first session, as the rest.
    public var driver: String?
    public var mac: String?
    /// Bytes of payload of a frame.
    public var mtu: Int?
    /// Whether the wire is connected, as the driver says.
    public var hasCarrier: Bool?
    /// Mbit/s; nil: not known.
    public var speed: Int?

    public init(
        name: String, namespace: String? = nil, bridge: String? = nil, driver: String? = nil, mac: String? = nil, mtu: Int? = nil,
        hasCarrier: Bool? = nil, speed: Int? = nil
    ) {
        self.name = name
        self.namespace = namespace
        self.bridge = bridge
        self.driver = driver
        self.mac = mac
        self.mtu = mtu
        self.hasCarrier = hasCarrier
        self.speed = speed
    }
}

/// Everything `drover net NAME` says: the NIC as its driver in the DD/OS describes it, asked just now.
public struct InterfaceDetail: Codable, Sendable, Equatable {
    /// The DD/OS's name.
    public var ddos: String
    public var phase: DDOSPhase
    public var interface: InterfaceSummary
    /// As `ethtool -i` prints them; empty where the driver says nothing.
    public var driverVersion: String
    public var firmwareVersion: String
    public var busInfo: String
    /// The address in the device's ROM; empty where the driver does not know.
    public var permanentMAC: String
    /// What the driver takes as an MTU.
    public var smallestMTU: Int
    public var largestMTU: Int
    /// Nil: not known.
    public var isFullDuplex: Bool?
    public var isPromiscuous: Bool
    /// Nil: the driver has no say in it.
    public var ring: InterfaceRing?
    /// Nil: the driver has no say in it.
    public var coalescing: InterfaceCoalescing?
    /// Between the host's interface and the DD/OS, since the client stub started.
    public var packets: PacketCounters
    /// The driver's own counters, since its VM started, in its order: what `ethtool -S` prints.
    public var statistics: [DriverStatistic]

    public init(
        ddos: String, phase: DDOSPhase, interface: InterfaceSummary, driverVersion: String = "", firmwareVersion: String = "",
        busInfo: String = "", permanentMAC: String = "", smallestMTU: Int, largestMTU: Int, isFullDuplex: Bool? = nil,
        isPromiscuous: Bool = false, ring: InterfaceRing? = nil, coalescing: InterfaceCoalescing? = nil,
        packets: PacketCounters = PacketCounters(), statistics: [DriverStatistic] = []
    ) {
        self.ddos = ddos
        self.phase = phase
        self.interface = interface
        self.driverVersion = driverVersion
        self.firmwareVersion = firmwareVersion
        self.busInfo = busInfo
        self.permanentMAC = permanentMAC
        self.smallestMTU = smallestMTU
        self.largestMTU = largestMTU
        self.isFullDuplex = isFullDuplex
        self.isPromiscuous = isPromiscuous
        self.ring = ring
        self.coalescing = coalescing
        self.packets = packets
        self.statistics = statistics
    }
}

/// Descriptors in the NIC's own rings, and how many there can be.
public struct InterfaceRing: Codable, Sendable, Equatable {
    public var receive: Int
    public var receiveMost: Int
    public var transmit: Int
    public var transmitMost: Int

    public init(receive: Int, receiveMost: Int, transmit: Int, transmitMost: Int) {
        self.receive = receive
        self.receiveMost = receiveMost
        self.transmit = transmit
        self.transmitMost = transmitMost
    }
}

/// How long the NIC holds its interrupts back. Nil: the driver has no such setting.
public struct InterfaceCoalescing: Codable, Sendable, Equatable {
    public var receiveMicroseconds: Int?
    public var receiveFrames: Int?
    public var transmitMicroseconds: Int?
    public var transmitFrames: Int?

    public init(
        receiveMicroseconds: Int? = nil, receiveFrames: Int? = nil, transmitMicroseconds: Int? = nil, transmitFrames: Int? = nil
    ) {
        self.receiveMicroseconds = receiveMicroseconds
        self.receiveFrames = receiveFrames
        self.transmitMicroseconds = transmitMicroseconds
        self.transmitFrames = transmitFrames
    }
}

/// Packets between the host's interface and a DD/OS.
public struct PacketCounters: Codable, Sendable, Equatable {
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

/// One of a driver's own counters.
public struct DriverStatistic: Codable, Sendable, Equatable {
    public var name: String
    public var value: UInt64

    public init(name: String, value: UInt64) {
        self.name = name
        self.value = value
    }
}

/// What to change of a NIC; nil leaves a setting as it is. A change holds for every life of the DD/OS, until `drover down`.
public struct InterfaceChange: Codable, Sendable, Equatable {
    public var mtu: Int?
    public var mac: String?
    public var isPromiscuous: Bool?
    public var receiveRing: Int?
    public var transmitRing: Int?
    public var coalescing: InterfaceCoalescing?

    public init() {}
}
