/// What only a DD/OS of `class: network` has.
public struct NetworkConfiguration: Sendable, Equatable {
    public var interface: InterfaceConfiguration
    /// In force from the first life on; what `drover net NAME set` changes goes before it until `drover down`.
    public var settings: InterfaceSettings

    public init(interface: InterfaceConfiguration, settings: InterfaceSettings = InterfaceSettings()) {
        self.interface = interface
        self.settings = settings
    }
}

/// The host's network interface, a TAP device that outlives every life of the DD/OS.
public struct InterfaceConfiguration: Sendable, Equatable {
    public enum Carrier: String, Sendable, Equatable, CaseIterable {
        /// While the DD/OS is down the cable seems to be plugged in: routes stay, programs wait.
        case hold
        /// While the DD/OS is down the cable seems to be pulled out: whoever watches carriers fails over.
        case drop
    }

    /// At most 15 bytes. Default: `dr-` and the DD/OS's name.
    public var name: String
    /// An existing bridge, in the namespace if there is one, that the interface becomes a port of.
    public var bridge: String?
    /// An existing network namespace, `/run/netns/NAME`. Nil: the supervisor's own.
    public var namespace: String?
    /// Default: `hold`.
    public var carrier: Carrier

    public init(name: String, bridge: String? = nil, namespace: String? = nil, carrier: Carrier = .hold) {
        self.name = name
        self.bridge = bridge
        self.namespace = namespace
        self.carrier = carrier
    }

    /// Bytes, without the zero at the end: Linux's IFNAMSIZ.
    public static let longestName = 15
}

/// The other end of an emulated NIC's cable.
public struct Wire: Sendable, Equatable {
    /// A TAP device of this machine. If there is none of this name it is made, and goes with `drover down`.
    public var tap: String

    public init(tap: String) {
        self.tap = tap
    }
}

/// What to set in the NIC; nil leaves it as the driver has it.
public struct InterfaceSettings: Sendable, Equatable {
    /// Bytes of payload of a frame.
    public var mtu: Int?
    /// `52:54:00:12:34:56`, in lower case.
    public var mac: String?
    /// Default: true for an interface in a bridge, else false.
    public var promiscuous: Bool?
    /// Descriptors in the NIC's own rings.
    public var receiveRing: Int?
    public var transmitRing: Int?
    /// How long the NIC holds its interrupts back.
    public var receiveMicroseconds: Int?
    public var receiveFrames: Int?
    public var transmitMicroseconds: Int?
    public var transmitFrames: Int?

    public init() {}
}
