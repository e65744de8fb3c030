import Foundation
import Glibc

extension NetworkRig {
    /// A datagram to a multicast group, IPv4 and IPv6, from one end to the other.
    func expectMulticast(_ cable: NetworkLab.Cable, toWire: Bool) async throws {
        let (from, to) = toWire ? (lab.host, lab.wire) : (lab.wire, lab.host)
        let (out, into) = toWire ? (cable.interface, cable.end) : (cable.end, cable.interface)
        let number = UInt8(cable.number)
        for group in ["239.77.0.\(number)", "ff15::77:\(number)"] {
            let isNew = group.contains(":")
            let receiver = try NetworkSocket.udp(to, group)
            let sender = try NetworkSocket.udp(from, group)
            let (inIndex, outIndex) = (
                try NetworkSocket.interfaceIndex(to, into), try NetworkSocket.interfaceIndex(from, out)
            )
            let address = try NetworkSocket.address(group, 5003, scope: outIndex)
            if isNew {
                try receiver.bind("::", 5003)
                try receiver.set(41, 20 /* IPV6_JOIN_GROUP */, bytes: Array(address[8..<24]) + Self.bytes(inIndex))
                try sender.set(41, 17 /* IPV6_MULTICAST_IF */, outIndex)
            } else {
                try receiver.bind("0.0.0.0", 5003)
                try receiver.set(0, 35 /* IP_ADD_MEMBERSHIP */, bytes: Array(address[4..<8]) + [0, 0, 0, 0] + Self.bytes(inIndex))
                try sender.set(0, 32 /* IP_MULTICAST_IF */, bytes: [UInt8](repeating: 0, count: 8) + Self.bytes(outIndex))
            }
            let words = Array("multicast \(group) \(toWire)".utf8)
            try receiver.timeout(0, microseconds: 50_000)
            try await repeated("a datagram to \(group), \(toWire ? "to" : "from") the wire of \(cable.interface)") {
                _ = try sender.send(words, to: address)
                var buffer = [UInt8](repeating: 0, count: 2048)
                return try receiver.receive(&buffer) == words.count && Array(buffer[..<words.count]) == words
            }
        }
    }

    /// A frame with an 802.1Q tag: it arrives with its tag, with the priority where the driver keeps it.
    func expectVLAN(_ cable: NetworkLab.Cable, toWire: Bool, keepsPriority: Bool) async throws {
        let (from, to) = toWire ? (lab.host, lab.wire) : (lab.wire, lab.host)
        let (out, into) = toWire ? (cable.interface, cable.end) : (cable.end, cable.interface)
        let receiver = try NetworkSocket.packet(to, interface: into)
        let sender = try NetworkSocket.packet(from, interface: out)
        let tag: UInt16 = 5 << 13 | 42
        let mask: UInt16 = keepsPriority || toWire ? 0xffff : 0xfff
        let words = Array("a tagged frame that no program but this one understands \(toWire)".utf8)
        let frame =
            [UInt8](repeating: 0xff, count: 6) + [0x02, 0, 0, 0, 0x77, UInt8(cable.number)] + [0x81, 0, UInt8(tag >> 8), UInt8(tag & 0xff)]
            + [0x88, 0xb5] + words
        try receiver.timeout(0, microseconds: 50_000)
        try await repeated("a frame with a VLAN tag, \(toWire ? "to" : "from") the wire of \(cable.interface)") {
            try sender.send(frame)
            for _ in 0..<20 {
                guard let (bytes, tci) = try receiver.receiveTagged() else { return false }
                if bytes.count >= 14 + words.count, Array(bytes[12..<14]) == [0x88, 0xb5], Array(bytes[14..<14 + words.count]) == words {
                    guard tci.map({ $0 & mask }) == tag & mask else {
                        throw Failure("the frame came with the tag \(tci.map { "\($0)" } ?? "none"), not \(tag & mask)")
                    }
                    return true
                }
            }
            return false
        }
    }

    /// Tries until it works, for at most 10 s.
    private func repeated(_ what: String, _ body: () throws -> Bool) async throws {
        _ = try await eventually(what, within: .seconds(10)) { try body() ? true : nil }
    }

    private static func bytes(_ number: Int32) -> [UInt8] { withUnsafeBytes(of: number) { Array($0) } }
}

extension NetworkSocket {
    /// A frame and the tag that the kernel took out of it; nil: none came within the timeout.
    func receiveTagged() throws -> (bytes: [UInt8], tci: UInt16?)? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        var control = [UInt8](repeating: 0, count: 256)
        let (count, length) = buffer.withUnsafeMutableBytes { data in
            control.withUnsafeMutableBytes { ancillary in
                var vector = iovec(iov_base: data.baseAddress, iov_len: data.count)
                return withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = ancillary.baseAddress
                    message.msg_controllen = ancillary.count
                    let count = recvmsg(descriptor, &message, 0)
                    return (count, Int(message.msg_controllen))
                }
            }
        }
        if count < 0, errno == EAGAIN || errno == EINTR { return nil }
        try Self.check("recvmsg", Int32(clamping: count))
        // struct cmsghdr (16 bytes), then struct tpacket_auxdata: status, length, captured length, two offsets, tag, its protocol.
        var tci: UInt16?
        if length >= 16 + 20 {
            control.withUnsafeBytes { bytes in
                let isAuxiliary = bytes.loadUnaligned(fromByteOffset: 8, as: Int32.self) == SOL_PACKET
                let status = bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self)
                // TP_STATUS_VLAN_VALID
                if isAuxiliary, status & 16 != 0 { tci = bytes.loadUnaligned(fromByteOffset: 16 + 16, as: UInt16.self) }
            }
        }
        return (Array(buffer[..<count]), tci)
    }
}
