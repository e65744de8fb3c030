/// The place of a PCI function, as in `0000:01:00.0`.
struct PCIAddress: Equatable {
    var domain: UInt16
    var bus: UInt8
    /// 0...31
    var slot: UInt8
    /// 0...7
    var function: UInt8

    init(domain: UInt16, bus: UInt8, slot: UInt8, function: UInt8) {
        self.domain = domain
        self.bus = bus
        self.slot = slot
        self.function = function
    }

    /// Takes `DDDD:BB:SS.F`, hexadecimal, exactly.
    init?(_ text: String) {
        let fields = text.split(separator: ":", omittingEmptySubsequences: false)
        guard fields.count == 3 else { return nil }
        let last = fields[2].split(separator: ".", omittingEmptySubsequences: false)
        guard last.count == 2, fields[0].utf8.count == 4, fields[1].utf8.count == 2, last[0].utf8.count == 2, last[1].utf8.count == 1,
            fields.joined().utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
            let domain = UInt16(fields[0], radix: 16), let bus = UInt8(fields[1], radix: 16), let slot = UInt8(last[0], radix: 16),
            let function = UInt8(last[1], radix: 16), slot < 32, function < 8
        else { return nil }
        self.init(domain: domain, bus: bus, slot: slot, function: function)
    }

    /// libvirt's element.
    var xml: String { "<address \(attributes)/>" }

    func xml(type: String) -> String { "<address type='\(type)' \(attributes)/>" }

    private var attributes: String {
        func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
        return "domain='\(hex(domain))' bus='\(hex(bus))' slot='\(hex(slot))' function='\(hex(function))'"
    }
}
