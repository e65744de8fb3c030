internal import Glibc

/// The kernel's IPv4 routes of all tables, by rtnetlink(7).
///
/// ```
/// nlmsghdr   0 length (4)  4 type (2)  6 flags (2)  8 sequence (4)  12 port (4)
/// rtmsg     16 family  17 destination's length  18 source's  19 TOS  20 table  21 protocol  22 scope  23 type  24 flags (4)
/// rtattr    28 length (2)  30 type (2)  32 value …, each at a multiple of 4
/// ```
enum RouteDump {
    private static let newRoute: UInt16 = 24
    private static let getRoute: UInt16 = 26
    private static let done: UInt16 = 3
    private static let error: UInt16 = 2
    /// NLM_F_REQUEST, NLM_F_DUMP.
    private static let dump: UInt16 = 0x301
    /// RTN_UNICAST: not `unreachable`, `blackhole`, `local`, …
    private static let unicast: UInt8 = 1
    private static let outgoingInterface: UInt16 = 4
    private static let multipath: UInt16 = 9

    /// By which default routes leave; none where the kernel doesn't say.
    static func interfaces() -> Set<String> {
        let descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let request = Self.request
        guard send(descriptor, request, request.count, 0) == request.count else { return [] }
        var indices: Set<UInt32> = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let length = recv(descriptor, &buffer, buffer.count, 0)
            if length < 0, errno == EINTR { continue }
            guard length > 0 else { break }
            let (found, isLast) = parse(buffer[..<length])
            indices.formUnion(found)
            if isLast { break }
        }
        return Set(indices.compactMap(name))
    }

    private static var request: [UInt8] {
        func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        return bytes(UInt32(28)) + bytes(getRoute) + bytes(dump) + bytes(UInt32(1)) + bytes(UInt32(0))
            + [UInt8(AF_INET)] + [UInt8](repeating: 0, count: 11)
    }

    private static func name(_ index: UInt32) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(IF_NAMESIZE))
        guard if_indextoname(index, &buffer) != nil else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// - Returns: The interfaces of the default routes in an answer, by index, and whether no further answer comes.
    static func parse(_ answer: ArraySlice<UInt8>) -> (Set<UInt32>, isLast: Bool) {
        var found: Set<UInt32> = []
        var rest = answer
        while let length = rest.number(UInt32.self, at: 0).map({ Int($0) }), length >= 16, length <= rest.count {
            let message = rest.prefix(length)
            let type = message.number(UInt16.self, at: 4)
            if type == done || type == error { return (found, true) }
            // Of the destination's address 0 bits count: everything.
            if type == newRoute, length >= 28, message[message.startIndex + 17] == 0, message[message.startIndex + 23] == unicast {
                found.formUnion(interfaces(message.dropFirst(28)))
            }
            rest = rest.dropFirst(length.aligned)
        }
        return (found, false)
    }

    private static func interfaces(_ attributes: ArraySlice<UInt8>) -> Set<UInt32> {
        var found: Set<UInt32> = []
        var rest = attributes
        while let length = rest.number(UInt16.self, at: 0).map({ Int($0) }), length >= 4, length <= rest.count {
            let value = rest.prefix(length).dropFirst(4)
            switch rest.number(UInt16.self, at: 2) {
            case outgoingInterface: if let index = value.number(UInt32.self, at: 0) { found.insert(index) }
            case multipath: found.formUnion(hops(value))
            default: break
            }
            rest = rest.dropFirst(length.aligned)
        }
        return found
    }

    /// rtnexthop: 0 length (2)  2 flags  3 weight  4 interface (4)  8 attributes …
    private static func hops(_ value: ArraySlice<UInt8>) -> Set<UInt32> {
        var found: Set<UInt32> = []
        var rest = value
        while let length = rest.number(UInt16.self, at: 0).map({ Int($0) }), length >= 8, length <= rest.count {
            if let index = rest.number(UInt32.self, at: 4) { found.insert(index) }
            rest = rest.dropFirst(length.aligned)
        }
        return found
    }
}

extension Int {
    /// The next multiple of 4.
    fileprivate var aligned: Int { (self + 3) & ~3 }
}

extension ArraySlice<UInt8> {
    /// As a little-endian machine has it; nil past the end.
    fileprivate func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
        let bytes = dropFirst(offset).prefix(MemoryLayout<Number>.size)
        guard bytes.count == MemoryLayout<Number>.size else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | Number($1) }
    }
}
