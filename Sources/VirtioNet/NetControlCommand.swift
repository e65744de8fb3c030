// Commands of the network device's control queue (virtio 1.2, 5.1.6.5; NOTF_COAL: 1.3). Drover sends them in NET_CONTROL messages
// instead of a queue: a network DD/OS shares no pool, and the slow path needs none.
//
//      0       1         2                     answer:  0     1
//      | class | command | data …                       | ack | result …
//
// All fields little-endian. What the standard has no command for is in a class of Drover's own.

/// A control command that cannot be read, or an answer.
public enum NetControlError: Error, Equatable, Sendable {
    /// Fewer or more bytes than the command has.
    case wrongSize
    /// No such class or command.
    case unknown(class: UInt8, command: UInt8)
    /// A field has a value that it cannot have.
    case invalid
}

/// One control command, as the client stub asks and the server stub does.
public enum NetControlCommand: Equatable, Sendable {
    /// RX PROMISC.
    case setPromiscuous(Bool)
    /// RX ALLMULTI.
    case setAllMulticast(Bool)
    /// MAC TABLE_SET: further addresses to receive for, each in the low 48 bits, the first octet highest.
    case setMACTable(unicast: [UInt64], multicast: [UInt64])
    /// MAC ADDR_SET.
    case setMAC(UInt64)
    /// VLAN ADD and DEL.
    case addVLAN(UInt16)
    case removeVLAN(UInt16)
    /// NOTF_COAL TX_SET and RX_SET. `leave` in a field: as it is.
    case setTransmitCoalescing(packets: UInt32, microseconds: UInt32)
    case setReceiveCoalescing(packets: UInt32, microseconds: UInt32)
    /// Drover's: the answer is a ``NetDescription``.
    case describe
    /// Drover's: bytes of payload of a frame.
    case setMTU(UInt32)
    /// Drover's: descriptors in the NIC's rings. `leave`: as it is.
    case setRing(receive: UInt32, transmit: UInt32)
    /// Drover's: the answer is a ``NetStatisticsPage`` that begins with the counter of that number.
    case statistics(first: UInt32)

    /// In a field of NOTF_COAL or RING_SET: leave it as it is (Drover's convention).
    public static let leave = UInt32.max
    /// The most addresses of a kind in MAC TABLE_SET.
    public static let maximumTable = 64

    /// Class numbers (5.1.6.5.1 and following; Drover's own at the end).
    enum Class {
        static let receive: UInt8 = 0
        static let mac: UInt8 = 1
        static let vlan: UInt8 = 2
        static let coalescing: UInt8 = 6
        static let drover: UInt8 = 0xD0
    }
}

extension NetControlCommand {
    /// Decodes a command: class, command and data, exactly.
    public init(untrusted bytes: Span<UInt8>) throws(NetControlError) {
        guard bytes.count >= 2 else { throw .wrongSize }
        func need(_ count: Int) throws(NetControlError) {
            guard bytes.count == 2 + count else { throw .wrongSize }
        }
        func flag() throws(NetControlError) -> Bool {
            try need(1)
            guard bytes[2] <= 1 else { throw .invalid }
            return bytes[2] == 1
        }
        switch (bytes[0], bytes[1]) {
        case (Class.receive, 0): self = .setPromiscuous(try flag())
        case (Class.receive, 1): self = .setAllMulticast(try flag())
        case (Class.mac, 0): self = try Self.table(bytes)
        case (Class.mac, 1):
            try need(6)
            self = .setMAC(bytes.mac(at: 2))
        case (Class.vlan, let command) where command <= 1:
            try need(2)
            let tag = UInt16(bytes[2]) | UInt16(bytes[3]) << 8
            guard tag < 4096 else { throw .invalid }
            self = command == 0 ? .addVLAN(tag) : .removeVLAN(tag)
        case (Class.coalescing, let command) where command <= 1:
            try need(8)
            let (packets, microseconds) = (bytes.number(at: 2), bytes.number(at: 6))
            self =
                command == 0
                ? .setTransmitCoalescing(packets: packets, microseconds: microseconds)
                : .setReceiveCoalescing(packets: packets, microseconds: microseconds)
        case (Class.drover, 0):
            try need(0)
            self = .describe
        case (Class.drover, 1):
            try need(4)
            self = .setMTU(bytes.number(at: 2))
        case (Class.drover, 2):
            try need(8)
            self = .setRing(receive: bytes.number(at: 2), transmit: bytes.number(at: 6))
        case (Class.drover, 3):
            try need(4)
            self = .statistics(first: bytes.number(at: 2))
        default: throw .unknown(class: bytes[0], command: bytes[1])
        }
    }

    /// Two tables, each a count and so many addresses (5.1.6.5.2): unicast, then multicast.
    private static func table(_ bytes: Span<UInt8>) throws(NetControlError) -> Self {
        var offset = 2
        func addresses() throws(NetControlError) -> [UInt64] {
            guard bytes.count - offset >= 4 else { throw .wrongSize }
            let count = bytes.number(at: offset)
            guard count <= UInt32(maximumTable) else { throw .invalid }
            guard bytes.count - offset - 4 >= 6 * Int(count) else { throw .wrongSize }
            var found: [UInt64] = []
            for index in 0..<Int(count) { found.append(bytes.mac(at: offset + 4 + 6 * index)) }
            offset += 4 + 6 * Int(count)
            return found
        }
        let unicast = try addresses()
        let multicast = try addresses()
        guard offset == bytes.count else { throw .wrongSize }
        let isMulticast = { (address: UInt64) in address >> 40 & 1 != 0 }
        guard !unicast.contains(where: isMulticast), multicast.allSatisfy(isMulticast) else { throw .invalid }
        return .setMACTable(unicast: unicast, multicast: multicast)
    }

    /// Class, command and data.
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        func begin(_ group: UInt8, _ command: UInt8) { bytes = [group, command] }
        switch self {
        case .setPromiscuous(let on):
            begin(Class.receive, 0)
            bytes.append(on ? 1 : 0)
        case .setAllMulticast(let on):
            begin(Class.receive, 1)
            bytes.append(on ? 1 : 0)
        case .setMACTable(let unicast, let multicast):
            precondition(unicast.count <= Self.maximumTable && multicast.count <= Self.maximumTable)
            begin(Class.mac, 0)
            for addresses in [unicast, multicast] {
                bytes.put32(UInt32(addresses.count))
                for address in addresses { bytes.putMAC(address) }
            }
        case .setMAC(let address):
            begin(Class.mac, 1)
            bytes.putMAC(address)
        case .addVLAN(let tag), .removeVLAN(let tag):
            if case .addVLAN = self { begin(Class.vlan, 0) } else { begin(Class.vlan, 1) }
            bytes.append(UInt8(truncatingIfNeeded: tag))
            bytes.append(UInt8(truncatingIfNeeded: tag >> 8))
        case .setTransmitCoalescing(let packets, let microseconds):
            begin(Class.coalescing, 0)
            bytes.put32(packets)
            bytes.put32(microseconds)
        case .setReceiveCoalescing(let packets, let microseconds):
            begin(Class.coalescing, 1)
            bytes.put32(packets)
            bytes.put32(microseconds)
        case .describe: begin(Class.drover, 0)
        case .setMTU(let mtu):
            begin(Class.drover, 1)
            bytes.put32(mtu)
        case .setRing(let receive, let transmit):
            begin(Class.drover, 2)
            bytes.put32(receive)
            bytes.put32(transmit)
        case .statistics(let first):
            begin(Class.drover, 3)
            bytes.put32(first)
        }
        return bytes
    }
}

extension Span<UInt8> {
    /// The little-endian number of four bytes there. The callers have checked the length.
    func number(at offset: Int) -> UInt32 {
        UInt32(self[offset]) | UInt32(self[offset + 1]) << 8 | UInt32(self[offset + 2]) << 16 | UInt32(self[offset + 3]) << 24
    }

    func mac(at offset: Int) -> UInt64 {
        var address: UInt64 = 0
        for index in 0..<6 { address = address << 8 | UInt64(self[offset + index]) }
        return address
    }
}

extension [UInt8] {
    mutating func put32(_ value: UInt32) {
        for shift in 0..<4 { append(UInt8(truncatingIfNeeded: value >> UInt32(8 * shift))) }
    }

    mutating func putMAC(_ address: UInt64) {
        for index in 0..<6 { append(UInt8(truncatingIfNeeded: address >> UInt64(40 - 8 * index))) }
    }

    /// Printable ASCII of `text`, cut off or filled up with zeroes to `count` bytes; the last byte is always zero.
    mutating func putText(_ text: String, _ count: Int) {
        var room = count - 1
        for byte in text.utf8 where room > 0 && byte >= 32 && byte < 127 {
            append(byte)
            room -= 1
        }
        for _ in 0...room { append(0) }
    }
}
