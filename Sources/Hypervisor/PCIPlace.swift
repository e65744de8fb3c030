/// Where a PCI function is, as the four numbers that libvirt wants. Addresses as people write them are read elsewhere: by who looks devices up.
public struct PCIPlace: Sendable, Equatable {
    public var domain: UInt32
    public var bus: UInt8
    /// 0...31
    public var slot: UInt8
    /// 0...7
    public var function: UInt8

    public init(domain: UInt32, bus: UInt8, slot: UInt8, function: UInt8) {
        self.domain = domain
        self.bus = bus
        self.slot = slot
        self.function = function
    }

    var isPossible: Bool { slot < 32 && function < 8 }

    /// libvirt's element.
    var xml: String { "<address \(attributes)/>" }

    func xml(type: String) -> String { "<address type='\(type)' \(attributes)/>" }

    private var attributes: String {
        func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
        return "domain='\(hex(domain))' bus='\(hex(bus))' slot='\(hex(slot))' function='\(hex(function))'"
    }
}
