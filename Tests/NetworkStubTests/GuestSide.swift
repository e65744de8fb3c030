import CLinux
import LinuxSystem
import VhostUser
import VirtioNet
import Virtqueue

@testable import NetworkStub

/// The guest's driver of a network device's first queue pair, and what QEMU says to the device's back end on its behalf.
class GuestDriver {
    static let memoryBytes = 4 << 20
    static let sendArea: UInt64 = 0x100000
    static let receiveArea: UInt64 = 0x200000
    private static let user: UInt64 = 0x7f00_0000_0000

    let memory: PoolMemory
    private var mapping: MemoryMapping
    private let file: OwnedDescriptor
    private let layouts = [VirtqueueLayout(size: 256, at: 0x1000), VirtqueueLayout(size: 256, at: 0x10000)]
    private let peer: OwnedDescriptor
    private let bell: EventCounter
    var receiving: DriverVirtqueue
    var sending: DriverVirtqueue
    private let bufferBytes: UInt32
    private var nextSend: UInt64 = 0

    /// - Parameter peer: connected to the back end.
    init(peer: consuming OwnedDescriptor, bufferBytes: UInt32 = 2048) throws {
        self.peer = peer
        file = try MemoryFile.create(name: "guest", count: Self.memoryBytes)
        mapping = try MemoryMapping(reserving: Self.memoryBytes)
        try mapping.place(descriptor: file.rawValue, offset: 0, count: Self.memoryBytes, at: 0)
        let memory = PoolMemory(base: mapping.base, count: Self.memoryBytes)
        self.memory = memory
        self.bufferBytes = bufferBytes
        bell = try EventCounter()
        receiving = try DriverVirtqueue(layouts[0], in: memory, features: Self.ring)
        sending = try DriverVirtqueue(layouts[1], in: memory, features: Self.ring)
    }

    private static let ring: VirtqueueFeatures = [.eventIndex, .indirectDescriptors]

    /// From the driver's features to the running queues.
    func setUp(_ features: VirtioNetFeatures) throws {
        try say(2, words(features.rawValue | Self.ring.rawValue | VirtioNetFeatures.version1.rawValue))
        try say(
            5, words(1) + words(0) + words(UInt64(Self.memoryBytes)) + words(Self.user) + words(0), file.rawValue)
        for (queue, layout) in layouts.enumerated() {
            let number = UInt64(queue)
            try say(8, words(number | UInt64(layout.size) << 32))
            try say(
                9,
                words(number) + words(Self.user + layout.descriptors) + words(Self.user + layout.device)
                    + words(Self.user + layout.driver) + words(0))
            try say(12, words(number), bell.descriptor.rawValue)
        }
    }

    private func words(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) } }

    func say(_ request: UInt8, _ payload: [UInt8], _ descriptor: Int32? = nil) throws {
        let bytes: [UInt8] = [request, 0, 0, 0, 1, 0, 0, 0, UInt8(payload.count), 0, 0, 0] + payload
        _ = try peer.send(bytes, descriptors: descriptor.map { [$0] } ?? [])
    }

    /// An answer of the back end's.
    func answer() throws -> [UInt8] {
        var reply = [UInt8](repeating: 0, count: 64)
        let count = try reply.withUnsafeMutableBytes { try peer.receive(into: $0) }
        return Array(reply[..<count])
    }

    // MARK: packets

    /// Puts header and frame on the transmit queue, cut at these places. False: the queue is full.
    func send(_ bytes: [UInt8], cuts: [Int] = [], writable: Bool = false) throws -> Bool {
        while try sending.popUsed() != nil {}
        let place = Self.sendArea + nextSend * 4096
        nextSend = (nextSend + (UInt64(bytes.count) + 4095) / 4096) % 240
        for (index, byte) in bytes.enumerated() { _ = memory.store(byte, at: place + UInt64(index)) }
        var chain: [DriverBuffer] = []
        var start = 0
        for cut in cuts.sorted() + [bytes.count] where cut > start && cut <= bytes.count {
            chain.append(.readable(place + UInt64(start), UInt32(cut - start)))
            start = cut
        }
        if writable { chain.append(.writable(place, 16)) }
        let added = try sending.add(chain.span, token: 0)
        _ = sending.publish()
        return added
    }

    /// Offers all receive buffers that are free.
    func offer(_ count: Int = 256) throws {
        for index in 0..<count { guard try receiving.add([buffer(UInt64(index))].span, token: UInt64(index)) else { break } }
        _ = receiving.publish()
    }

    private func buffer(_ index: UInt64) -> DriverBuffer { .writable(Self.receiveArea + index * UInt64(bufferBytes), bufferBytes) }

    /// The next packet that came, with its header, put together from its buffers, which are offered again; nil: none now.
    func receive() throws -> [UInt8]? {
        guard let first = try take() else { return nil }
        var packet = first
        guard packet.count >= 12 else { return packet }
        for _ in 1..<max(1, Int(packet[10]) | Int(packet[11]) << 8) {
            guard let more = try take() else { return nil }
            packet += more
        }
        return packet
    }

    private func take() throws -> [UInt8]? {
        guard let used = try receiving.popUsed() else { return nil }
        var bytes: [UInt8] = []
        for offset in 0..<UInt64(used.length) {
            bytes.append(memory.load(at: Self.receiveArea + used.token * UInt64(bufferBytes) + offset, as: UInt8.self) ?? 0)
        }
        _ = try receiving.add([buffer(used.token)].span, token: used.token)
        _ = receiving.publish()
        return bytes
    }
}

/// A network device, set up as QEMU does it, and its guest's driver, in this process.
final class GuestSide: GuestDriver {
    var backend: BackendConnection<NetworkDevice>

    init(_ device: consuming NetworkDevice, features: VirtioNetFeatures, bufferBytes: UInt32 = 2048) throws {
        let (first, second) = try UnixSocket.pair().split { (Holder($0), Holder($1)) }
        backend = try BackendConnection(socket: first.take(), device: device)
        try super.init(peer: second.take(), bufferBytes: bufferBytes)
        try setUp(features)
        try backend.handleSocketReadable()
    }

    private final class Holder {
        private var descriptor: OwnedDescriptor?
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = consume descriptor }
        func take() -> OwnedDescriptor { descriptor.take()! }
    }

    /// GET_VRING_BASE: the queue stops. Its answer is the next chain that the device would have taken.
    func stop(_ queue: UInt8) throws -> UInt32 {
        try say(11, [queue, 0, 0, 0, 0, 0, 0, 0])
        try backend.handleSocketReadable()
        let reply = try answer()
        return reply.count == 20 ? UInt32(reply[16]) | UInt32(reply[17]) << 8 : .max
    }

    /// One turn of the device's.
    func serve() throws {
        backend.device.kicked(0)
        backend.device.becameReadable(0)
        try Self.turn(&backend)
    }

    private static func turn(_ backend: inout BackendConnection<NetworkDevice>) throws {
        _ = try backend.device.serve(&backend.rings, rearm: true)
        backend.rings.publish()
    }
}
