import CLinux
import Foundation
import LinuxSystem
import Synchronization

@testable import NetworkStub

/// A network namespace with a bridge and two TAPs: what the device under test does with one of them, the test sees on the other.
///
///     guest's queues ── device ── TAP near0 ── bridge ── TAP far0 ── test
final class Wire {
    let name: String
    private let far: Tap
    private var room = [UInt8](repeating: 0, count: 70000)

    /// Ethernet type of the test's own packets (IEEE 802, local experiments): the kernel has nothing to do with them.
    static let type: [UInt8] = [0x88, 0xb5]

    /// The namespace, and both ends; the near one is given to `body`.
    static func with<Result>(queues: Int = 1, _ body: (Wire, inout Tap) throws -> Result) throws -> Result {
        try withTaps(queues: queues) { name in
            // Before the bridge: it forwards nothing to a port until it has heard of its carrier.
            var near = try Tap(name: "near0", namespace: "/run/netns/\(name)", queues: queues)
            return try body(try Wire(name), &near)
        }
    }

    /// A namespace with both TAPs and nothing else; `body` is told its name.
    static func withTaps<Result>(queues: Int = 1, _ body: (String) throws -> Result) throws -> Result {
        let name = "drover-test-\(ProcessControl.identifier)-\(UInt32.random(in: 0...999_999))"
        try command("ip", "netns", "add", name)
        defer { try? command("ip", "netns", "del", name) }
        for tap in ["near0", "far0"] {
            let flags = queues > 1 && tap == "near0" ? ["multi_queue"] : []
            try command(["ip", "-n", name, "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr"] + flags)
        }
        return try body(name)
    }

    init(_ name: String) throws {
        self.name = name
        far = try Tap(name: "far0", namespace: "/run/netns/\(name)")
        for line in [
            "link add name bridge type bridge mcast_snooping 0", "link set near0 master bridge", "link set far0 master bridge",
            "link set near0 mtu 9000",
            "link set far0 mtu 9000",
            "link set bridge up", "link set near0 up", "link set far0 up",
        ] { try Self.command(["ip", "-n", name] + line.split(separator: " ").map(String.init)) }
        try far.setOffloads([.checksum, .tcp4, .tcp6])
        // A port of a bridge learns and forwards at once, as there is no spanning tree.
    }

    static func command(_ words: String...) throws { try command(words) }

    static func command(_ words: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        try process.run()
        process.waitUntilExit()
        struct Failed: Error { var words: [String] }
        if process.terminationStatus != 0 { throw Failed(words: words) }
    }

    /// Sends a packet towards the guest: 12 bytes of vnet header and the frame.
    func send(_ packet: [UInt8]) throws {
        let count = packet.withUnsafeBytes { write(far.descriptor(0), $0.baseAddress, $0.count) }
        if count != packet.count { throw SystemError(code: clinux_errno(), call: "write") }
    }

    /// Sends so many packets from a thread of its own.
    func sender(_ total: UInt32) -> PacedSender { PacedSender(descriptor: far.descriptor(0), total: total) }

    /// The next packet of the test's own kind that came from the guest, with its header; nil: none now.
    func receive() -> [UInt8]? {
        while true {
            let count = room.withUnsafeMutableBytes { read(far.descriptor(0), $0.baseAddress, $0.count) }
            guard count > 0 else { return nil }
            if count >= 26, room[24] == Self.type[0], room[25] == Self.type[1] { return [UInt8](room[..<count]) }
        }
    }

    /// A frame of the test's own kind between two made-up stations: a number, and bytes that follow from it.
    static func frame(_ number: UInt32, bytes: Int, toGuest: Bool) -> [UInt8] {
        let addresses: [UInt8] =
            toGuest ? [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2] : [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1]
        var frame = addresses + type
        for shift in [24, 16, 8, 0] { frame.append(UInt8(truncatingIfNeeded: number >> UInt32(shift))) }
        var state = number &* 2_654_435_761 | 1
        while frame.count < bytes {
            state = state &* 1_664_525 &+ 1_013_904_223
            frame.append(UInt8(truncatingIfNeeded: state >> 24))
        }
        return frame
    }
}

/// Sends numbered packets whenever it likes, with so few under way that whoever reads them often finds nothing.
final class PacedSender: Sendable {
    private static let mostUnderWay: UInt32 = 4
    private let descriptor: Int32
    private let total: UInt32
    private let arrivals = Atomic<UInt32>(0)
    private let failure = Atomic<Bool>(false)
    private let isStopped = Atomic<Bool>(false)
    private let ended = DispatchSemaphore(value: 0)

    init(descriptor: Int32, total: UInt32) {
        self.descriptor = descriptor
        self.total = total
    }

    var hasFailed: Bool { failure.load(ordering: .relaxed) }

    /// So many have arrived.
    func arrived(_ count: UInt32) { arrivals.store(count, ordering: .relaxed) }

    /// Comes back when the thread is done with the descriptor.
    func stop() {
        isStopped.store(true, ordering: .relaxed)
        ended.wait()
    }

    func start() {
        Thread.detachNewThread { [self] in
            defer { ended.signal() }
            var sent: UInt32 = 0
            while sent < total, !isStopped.load(ordering: .relaxed) {
                if sent &- arrivals.load(ordering: .relaxed) >= Self.mostUnderWay {
                    Clock.yield()
                    continue
                }
                let packet = [UInt8](repeating: 0, count: 12) + Wire.frame(sent, bytes: 60, toGuest: true)
                let count = packet.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                if count != packet.count { return failure.store(true, ordering: .relaxed) }
                sent += 1
            }
        }
    }
}
