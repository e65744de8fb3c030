internal import CLinux

// Offloads: a bitset with names, see Documentation/networking/ethtool-netlink.rst, "Bit sets", in its long form:
//
//      BITSET { SIZE, BITS { BIT { INDEX, NAME, VALUE }, … } }      VALUE without payload: the bit is set

extension EthtoolSocket {
    /// An offload, by the kernel's name for it, such as "rx-gro".
    public struct Feature: Equatable, Sendable {
        public var name: String
        public var isActive: Bool
        /// The driver lets it be switched.
        public var isChangeable: Bool

        public init(name: String, isActive: Bool, isChangeable: Bool) {
            self.name = name
            self.isActive = isActive
            self.isChangeable = isChangeable
        }

        public static func == (left: Feature, right: Feature) -> Bool {
            left.name.utf8.elementsEqual(right.name.utf8) && left.isActive == right.isActive && left.isChangeable == right.isChangeable
        }
    }

    /// All offloads that the kernel knows, whether the driver has them or not; empty where the kernel does not say.
    public mutating func features(_ index: Int32) throws(NetlinkError) -> [Feature] {
        guard let answer = try ask("read offloads", Int(ETHTOOL_MSG_FEATURES_GET), index) else { return [] }
        var found: [Feature] = []
        // This one lists all bits, with a value where the driver can switch it …
        Self.bits(answer.first(Int(ETHTOOL_A_FEATURES_HW))) { name, isSet in
            found.append(Feature(name: name, isActive: false, isChangeable: isSet))
        }
        // … these list only those that are set.
        Self.bits(answer.first(Int(ETHTOOL_A_FEATURES_ACTIVE))) { name, _ in
            for place in found.indices where found[place].name.utf8.elementsEqual(name.utf8) { found[place].isActive = true }
        }
        Self.bits(answer.first(Int(ETHTOOL_A_FEATURES_NOCHANGE))) { name, _ in
            for place in found.indices where found[place].name.utf8.elementsEqual(name.utf8) { found[place].isChangeable = false }
        }
        return found
    }

    /// Asks for offloads to be switched; what the driver cannot switch, or another offload wants, stays as it is. Every name is one
    /// that `features` gave.
    public mutating func setFeatures(_ index: Int32, _ wanted: [(name: String, isOn: Bool)]) throws(NetlinkError) {
        var request = try request("set offloads", Int(ETHTOOL_MSG_FEATURES_SET), index)
        request.nest(Int(ETHTOOL_A_FEATURES_WANTED)) { set in
            set.nest(Int(ETHTOOL_A_BITSET_BITS)) { bits in
                for feature in wanted {
                    bits.nest(Int(ETHTOOL_A_BITSET_BITS_BIT)) { bit in
                        bit.attribute(Int(ETHTOOL_A_BITSET_BIT_NAME), feature.name)
                        if feature.isOn { bit.attribute(Int(ETHTOOL_A_BITSET_BIT_VALUE), [UInt8]()) }
                    }
                }
            }
        }
        try socket.perform(request)
    }

    private static func bits(_ set: NetlinkAttribute?, _ each: (String, Bool) -> Void) {
        guard let bits = set?.nested.first(Int(ETHTOOL_A_BITSET_BITS)) else { return }
        for bit in bits.nested where Int(bit.type) == Int(ETHTOOL_A_BITSET_BITS_BIT) {
            guard let name = bit.nested.first(Int(ETHTOOL_A_BITSET_BIT_NAME)) else { continue }
            each(name.text, bit.nested.first(Int(ETHTOOL_A_BITSET_BIT_VALUE)) != nil)
        }
    }
}
