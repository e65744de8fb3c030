import Foundation
import Glibc
import Synchronization

/// A TCP stream between the two namespaces: bytes that follow from their place in it, checked as they arrive.
final class TCPTransfer: Sendable {
    struct Result: Sendable {
        var bytes: Int
        var seconds: Double
        /// Every time that nothing arrived for longer than half a second.
        var silences: [Silence]

        var megabitsPerSecond: Double { Double(bytes) * 8 / seconds / 1e6 }
        var longestSilence: Double { silences.map(\.seconds).max() ?? 0 }

        /// The silences that began or ended between two moments.
        func silences(from start: ContinuousClock.Instant, to end: ContinuousClock.Instant) -> [Silence] {
            silences.filter { $0.end > start && $0.start < end }
        }
    }

    struct Silence: Sendable, CustomStringConvertible {
        var start: ContinuousClock.Instant
        var end: ContinuousClock.Instant

        var seconds: Double { start.duration(to: end) / .seconds(1) }
        var description: String { text(seconds: seconds) }
    }

    let bytes: Int
    private let receiver: Task<Result, any Error>
    private let sender: Task<Void, any Error>

    /// From `from` to `to`, where `address` is one of `to`'s. `rate`: bytes a second at most; what a silence kept back is not made up for.
    init(from: String, to: String, address: String, bytes: Int, rate: Int? = nil, port: UInt16 = 5001) throws {
        self.bytes = bytes
        let listener = try NetworkSocket.tcp(to, address)
        try listener.bind(address, port)
        try listener.listen()
        let arrived = Arrived()
        self.counter = arrived
        let waiting = Unchecked(listener)
        receiver = onThread { try Self.receive(waiting.value, bytes, arrived) }
        sender = onThread { try Self.send(from, address, port, bytes, rate) }
    }

    /// Bytes that have arrived so far.
    private let counter: Arrived
    var received: Int { counter.count.load(ordering: .relaxed) }

    /// The end of it: a reset, a wrong byte or a missing one is an error.
    func result() async throws -> Result {
        do {
            let result = try await receiver.value
            try await sender.value
            return result
        } catch {
            // The sender's own words may be the better ones.
            let words = await sender.result
            if case .failure(let other) = words { throw Failure("\(error); the sender: \(other)") }
            throw error
        }
    }

    /// Waits until so much has arrived.
    func untilReceived(_ count: Int, within limit: Duration) async throws {
        _ = try await eventually("\(count) bytes have arrived", within: limit) { received >= count ? true : nil }
    }

    final class Arrived: Sendable {
        let count = Atomic<Int>(0)
    }

    private struct Unchecked<Value>: @unchecked Sendable {
        // @unchecked: handed over to one thread, and used by nobody else.
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    /// No answer for longer than this ends the test, not the machine's patience.
    private static let patience = 120
    private static let chunk = 64 << 10

    private static func send(_ namespace: String, _ address: String, _ port: UInt16, _ bytes: Int, _ rate: Int?) throws {
        let socket = try NetworkSocket.tcp(namespace, address)
        try socket.connect(address, port, seconds: patience)
        var block = [UInt8](repeating: 0, count: chunk)
        var due = ContinuousClock.now
        var offset = 0
        while offset < bytes {
            let count = min(chunk, bytes - offset)
            Self.fill(&block, at: offset)
            try block.withUnsafeBytes { try socket.send(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            offset += count
            if let rate {
                due = max(due + .seconds(Double(count) / Double(rate)), .now - .milliseconds(250))
                let ahead = ContinuousClock.now.duration(to: due) / .seconds(1)
                if ahead > 0.001 { usleep(UInt32(ahead * 1e6)) }
            }
        }
        shutdown(socket.descriptor, Int32(SHUT_WR))
        // The other side closes when it has everything.
        var rest = [UInt8](repeating: 0, count: 16)
        try socket.timeout(patience)
        guard try socket.receive(&rest) == 0 else { throw Failure("the receiver did not close the stream") }
    }

    private static func receive(_ listener: NetworkSocket, _ bytes: Int, _ arrived: Arrived) throws -> Result {
        let socket = try listener.accept(seconds: patience)
        try socket.timeout(patience)
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var expected = [UInt8](repeating: 0, count: chunk)
        var at = -1
        var offset = 0
        var silences: [Silence] = []
        let start = ContinuousClock.now
        var last = start
        while true {
            guard let count = try socket.receive(&buffer) else { throw Failure("nothing arrived for \(patience) s, after \(offset) bytes") }
            let now = ContinuousClock.now
            if now - last > .milliseconds(500) { silences.append(Silence(start: last, end: now)) }
            last = now
            if count == 0 { break }
            var checked = 0
            while checked < count {
                let base = (offset / chunk) * chunk
                if base != at {
                    Self.fill(&expected, at: base)
                    at = base
                }
                let within = offset - base
                let part = min(chunk - within, count - checked)
                let same = buffer.withUnsafeBytes { got in
                    expected.withUnsafeBytes { memcmp(got.baseAddress! + checked, $0.baseAddress! + within, part) == 0 }
                }
                guard same else { throw Failure("wrong bytes between \(offset) and \(offset + part)") }
                checked += part
                offset += part
            }
            arrived.count.store(offset, ordering: .relaxed)
        }
        guard offset == bytes else { throw Failure("\(offset) bytes of \(bytes) arrived") }
        return Result(bytes: offset, seconds: start.duration(to: last) / .seconds(1), silences: silences)
    }

    /// Different in every word of the stream: nothing can be lost, moved or repeated unseen. `offset` is a multiple of the chunk.
    private static func fill(_ block: inout [UInt8], at offset: Int) {
        block.withUnsafeMutableBytes { bytes in
            let words = bytes.bindMemory(to: UInt64.self)
            var value = UInt64(truncatingIfNeeded: offset) &* 0x9E37_79B9_7F4A_7C15 | 1
            for index in words.indices {
                value = value &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                words[index] = value
            }
        }
    }
}

/// Numbered UDP datagrams in one direction.
struct UDPFlow: Sendable {
    struct Result: Sendable {
        var sent = 0
        var received = 0
        var duplicated = 0
        var reordered = 0
        var corrupted = 0
        var isClean: Bool { duplicated == 0 && reordered == 0 && corrupted == 0 }
    }

    private let sender: Task<Int, any Error>
    private let receiver: Task<Result, any Error>

    /// `count` datagrams of `size` bytes, `rate` a second.
    init(from: String, to: String, address: String, count: Int, size: Int = 200, rate: Int, port: UInt16 = 5002) throws {
        receiver = onThread {
            let socket = try NetworkSocket.udp(to, address)
            try socket.set(SOL_SOCKET, SO_RCVBUF, 4 << 20)
            try socket.bind(address, port)
            return try Self.receive(socket, size)
        }
        sender = onThread {
            usleep(100_000)
            let socket = try NetworkSocket.udp(from, address)
            let destination = try NetworkSocket.address(address, port)
            let start = ContinuousClock.now
            var sent = 0
            for number in 0..<count {
                if try socket.send(Self.datagram(number, size), to: destination) { sent += 1 }
                let ahead = ContinuousClock.now.duration(to: start + .seconds(Double(number) / Double(rate))) / .seconds(1)
                if ahead > 0.002 { usleep(UInt32(ahead * 1e6)) }
            }
            // The end, more than once: it may get lost.
            for _ in 0..<20 {
                _ = try socket.send(Self.datagram(-1, size), to: destination)
                usleep(100_000)
            }
            return sent
        }
    }

    func result() async throws -> Result {
        let sent = try await sender.value
        var result = try await receiver.value
        result.sent = sent
        return result
    }

    private static func datagram(_ number: Int, _ size: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 31), count: size)
        withUnsafeBytes(of: number) { bytes.replaceSubrange(0..<8, with: $0) }
        return bytes
    }

    private static func receive(_ socket: NetworkSocket, _ size: Int) throws -> Result {
        var result = Result()
        var seen: Set<Int> = []
        var highest = -1
        var buffer = [UInt8](repeating: 0, count: 65536)
        try socket.timeout(60)
        while true {
            guard let count = try socket.receive(&buffer) else { throw Failure("no datagram for 60 s, after \(result.received)") }
            let number = buffer.withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
            guard count == size, Array(buffer[..<count]) == datagram(number, size) else {
                result.corrupted += 1
                continue
            }
            if number == -1 { return result }
            result.received += 1
            if !seen.insert(number).inserted { result.duplicated += 1 }
            if number < highest { result.reordered += 1 }
            highest = max(highest, number)
        }
    }
}
