import Foundation
import Glibc
import Netlink
import Synchronization

/// A TCP transfer between two network namespaces, with a checksum over what was sent and what arrived.
final class DemoStream: Sendable {
    struct Result: Sendable {
        var bytes: Int
        var sent: UInt64
        var received: UInt64
        /// The longest time in which nothing arrived, seconds.
        var silence: Double
    }

    let bytes: Int
    private let count = Atomic<Int>(0)
    private let ended = Atomic<Bool>(false)

    init(bytes: Int) {
        self.bytes = bytes
    }

    var received: Int { count.load(ordering: .relaxed) }
    var hasEnded: Bool { ended.load(ordering: .relaxed) }

    func start(from: String, to: String, address: String) throws -> Task<Result, any Error> {
        let listener = try Self.socket(to)
        let place = try Self.address(address)
        guard Self.with(place, { bind(listener, $0, $1) }) == 0, listen(listener, 1) == 0 else { throw Self.failure("listen") }
        let sender = try Self.socket(from)
        let sending = Self.onThread { try Self.send(sender, place, self.bytes) }
        let receiving = Self.onThread { try self.receive(listener) }
        return Task {
            let (arrived, silence) = try await receiving.value
            return Result(bytes: bytes, sent: try await sending.value, received: arrived, silence: silence)
        }
    }

    private static func send(_ socket: Int32, _ place: [UInt8], _ bytes: Int) throws -> UInt64 {
        defer { close(socket) }
        guard with(place, { connect(socket, $0, $1) }) == 0 else { throw failure("connect") }
        var block = [UInt8](repeating: 0, count: 64 << 10)
        var sum = Checksum()
        var done = 0
        while done < bytes {
            for index in stride(from: 0, to: block.count, by: 64) { block[index] = UInt8.random(in: 0...255) }
            sum.add(block[...])
            var offset = 0
            while offset < block.count {
                let sent = block.withUnsafeBytes {
                    Glibc.send(socket, $0.baseAddress! + offset, block.count - offset, Int32(MSG_NOSIGNAL))
                }
                guard sent > 0 else { throw failure("send") }
                offset += sent
            }
            done += block.count
            // About 10 MiB a second: there has to be a middle.
            usleep(6000)
        }
        shutdown(socket, Int32(SHUT_WR))
        return sum.value
    }

    private func receive(_ listener: Int32) throws -> (UInt64, Double) {
        defer {
            ended.store(true, ordering: .relaxed)
            close(listener)
        }
        let socket = accept(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil)
        guard socket >= 0 else { throw Self.failure("accept") }
        defer { close(socket) }
        try Self.limit(socket)
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var sum = Checksum()
        var silence = 0.0
        var last = ContinuousClock.now
        var total = 0
        while true {
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count >= 0 else { throw Self.failure("receive") }
            if count == 0 { break }
            silence = max(silence, last.duration(to: .now) / .seconds(1))
            last = .now
            sum.add(buffer[..<count])
            total += count
            self.count.store(total, ordering: .relaxed)
        }
        guard total == bytes else { throw DemoError("\(total) bytes of \(bytes) arrived.") }
        return (sum.value, silence)
    }

    /// FNV-1a.
    private struct Checksum {
        var value: UInt64 = 0xcbf2_9ce4_8422_2325
        mutating func add(_ bytes: ArraySlice<UInt8>) {
            bytes.withUnsafeBytes { for byte in $0 { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 } }
        }
    }

    private static func socket(_ namespace: String) throws -> Int32 {
        var result: Int32 = -1
        try NetworkNamespace(path: "/run/netns/\(namespace)").perform { () throws(NetlinkError) in
            result = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        }
        guard result >= 0 else { throw failure("socket") }
        try limit(result)
        return result
    }

    /// Nothing waits longer than two minutes.
    private static func limit(_ socket: Int32) throws {
        var time = timeval(tv_sec: 120, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            guard setsockopt(socket, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size)) == 0 else {
                throw failure("timeout")
            }
        }
    }

    /// struct sockaddr_in: family, port, address.
    private static func address(_ text: String) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 16)
        withUnsafeBytes(of: UInt16(AF_INET)) { bytes.replaceSubrange(0..<2, with: $0) }
        withUnsafeBytes(of: UInt16(5001).bigEndian) { bytes.replaceSubrange(2..<4, with: $0) }
        guard bytes.withUnsafeMutableBytes({ inet_pton(AF_INET, text, $0.baseAddress! + 4) }) == 1 else {
            throw DemoError("\(text) is no address.")
        }
        return bytes
    }

    private static func with(_ address: [UInt8], _ body: (__CONST_SOCKADDR_ARG, socklen_t) -> Int32) -> Int32 {
        address.withUnsafeBytes {
            body(__CONST_SOCKADDR_ARG(__sockaddr__: $0.baseAddress!.assumingMemoryBound(to: sockaddr.self)), socklen_t($0.count))
        }
    }

    private static func failure(_ call: String) -> DemoError { DemoError("\(call): \(String(cString: strerror(errno))).") }

    private static func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) -> Task<Value, any Error> {
        Task {
            try await withCheckedThrowingContinuation { continuation in
                Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
            }
        }
    }
}
