import Foundation
import Glibc
import Netlink

/// A socket in a network namespace, for one thread. Every call ends within its timeout.
final class NetworkSocket {
    let descriptor: Int32

    init(_ namespace: String, family: Int32, type: Int32, protocol: Int32 = 0) throws {
        descriptor = try NetworkLab.inside(namespace) {
            let descriptor = socket(family, type | Int32(SOCK_CLOEXEC.rawValue), `protocol`)
            guard descriptor >= 0 else { throw Failure("socket: \(String(cString: strerror(errno)))") }
            return descriptor
        }
    }

    init(adopting descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    // MARK: making

    static func tcp(_ namespace: String, _ address: String) throws -> NetworkSocket {
        try NetworkSocket(namespace, family: family(address), type: Int32(SOCK_STREAM.rawValue))
    }

    static func udp(_ namespace: String, _ address: String) throws -> NetworkSocket {
        try NetworkSocket(namespace, family: family(address), type: Int32(SOCK_DGRAM.rawValue))
    }

    /// Raw Ethernet frames of one interface.
    static func packet(_ namespace: String, interface: String) throws -> NetworkSocket {
        let socket = try NetworkSocket(
            namespace, family: AF_PACKET, type: Int32(SOCK_RAW.rawValue), protocol: Int32(UInt16(0x0003).bigEndian))
        let index = try interfaceIndex(namespace, interface)
        // struct sockaddr_ll: family, protocol, index, hardware type, packet type, length, address.
        var address = [UInt8](repeating: 0, count: 20)
        withUnsafeBytes(of: UInt16(AF_PACKET)) { address.replaceSubrange(0..<2, with: $0) }
        withUnsafeBytes(of: UInt16(0x0003).bigEndian) { address.replaceSubrange(2..<4, with: $0) }
        withUnsafeBytes(of: index) { address.replaceSubrange(4..<8, with: $0) }
        try check("bind", withAddress(address) { Glibc.bind(socket.descriptor, $0, $1) })
        try socket.set(SOL_PACKET, 8 /* PACKET_AUXDATA */, 1)
        return socket
    }

    static func interfaceIndex(_ namespace: String, _ name: String) throws -> Int32 {
        guard let link = try NetworkLab.link(name, in: namespace) else { throw Failure("no interface \(name) in \(namespace)") }
        return link.index
    }

    // MARK: calls

    func bind(_ address: String, _ port: UInt16) throws {
        try set(SOL_SOCKET, SO_REUSEADDR, 1)
        let bytes = try Self.address(address, port)
        try Self.check("bind \(address)", Self.withAddress(bytes) { Glibc.bind(descriptor, $0, $1) })
    }

    func listen() throws { try Self.check("listen", Glibc.listen(descriptor, 8)) }

    func accept(seconds: Int) throws -> NetworkSocket {
        try timeout(seconds)
        let peer = Glibc.accept(descriptor, __SOCKADDR_ARG(__sockaddr__: nil), nil)
        try Self.check("accept", peer)
        return NetworkSocket(adopting: peer)
    }

    func connect(_ address: String, _ port: UInt16, seconds: Int) throws {
        try timeout(seconds)
        let bytes = try Self.address(address, port)
        try Self.check("connect to \(address)", Self.withAddress(bytes) { Glibc.connect(descriptor, $0, $1) })
    }

    /// Of sending and receiving.
    func timeout(_ seconds: Int, microseconds: Int = 0) throws {
        var time = timeval(tv_sec: seconds, tv_usec: microseconds)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            try Self.check("timeout", setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size)))
        }
    }

    func set(_ level: Int32, _ option: Int32, _ value: Int32) throws {
        var value = value
        try Self.check("option \(level) \(option)", setsockopt(descriptor, level, option, &value, 4))
    }

    func set(_ level: Int32, _ option: Int32, bytes: [UInt8]) throws {
        try Self.check("option \(level) \(option)", setsockopt(descriptor, level, option, bytes, socklen_t(bytes.count)))
    }

    /// All of it, or an error.
    func send(_ bytes: UnsafeRawBufferPointer) throws {
        var done = 0
        while done < bytes.count {
            let count = Glibc.send(descriptor, bytes.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
            try Self.check("send", Int32(clamping: count))
            done += count
        }
    }

    func send(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try send($0) } }

    /// One datagram. False: the interface had no room for it, as UDP may say.
    func send(_ bytes: [UInt8], to address: [UInt8]) throws -> Bool {
        let count = Self.withAddress(address) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
        if count < 0, [ENOBUFS, EAGAIN, ENETDOWN, EHOSTUNREACH, ENETUNREACH].contains(errno) { return false }
        try Self.check("sendto", Int32(clamping: count))
        return true
    }

    /// Nil: nothing came within the timeout. 0 bytes: the other end has closed.
    func receive(_ buffer: inout [UInt8]) throws -> Int? {
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count < 0, errno == EAGAIN || errno == EINTR { return nil }
        try Self.check("receive", Int32(clamping: count))
        return count
    }

    static func check(_ call: String, _ result: Int32) throws {
        guard result < 0 else { return }
        throw Failure("\(call): \(String(cString: strerror(errno)))")
    }

    // MARK: addresses

    static func family(_ address: String) -> Int32 { address.contains(":") ? AF_INET6 : AF_INET }

    /// struct sockaddr_in or sockaddr_in6; `scope`: an interface's number.
    static func address(_ text: String, _ port: UInt16, scope: Int32 = 0) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: text.contains(":") ? 28 : 16)
        withUnsafeBytes(of: UInt16(family(text))) { bytes.replaceSubrange(0..<2, with: $0) }
        withUnsafeBytes(of: port.bigEndian) { bytes.replaceSubrange(2..<4, with: $0) }
        let place = text.contains(":") ? 8 : 4
        let isAddress = bytes.withUnsafeMutableBytes { inet_pton(family(text), text, $0.baseAddress! + place) == 1 }
        guard isAddress else { throw Failure("\(text) is no address") }
        if text.contains(":") { withUnsafeBytes(of: scope) { bytes.replaceSubrange(24..<28, with: $0) } }
        return bytes
    }

    static func withAddress<Result>(_ bytes: [UInt8], _ body: (__CONST_SOCKADDR_ARG, socklen_t) -> Result) -> Result {
        bytes.withUnsafeBytes {
            body(__CONST_SOCKADDR_ARG(__sockaddr__: $0.baseAddress!.assumingMemoryBound(to: sockaddr.self)), socklen_t(bytes.count))
        }
    }
}

/// Runs something that blocks on a thread of its own.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) -> Task<Result, any Error> {
    Task {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
        }
    }
}
