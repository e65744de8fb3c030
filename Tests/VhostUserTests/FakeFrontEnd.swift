import CLinux
import LinuxSystem
import Testing
import Virtqueue

@testable import VhostUser

/// QEMU and a guest's vsock driver in one: speaks vhost-user over a socket pair, and owns a memfd in two regions of "guest" memory,
/// with the rings in the first and the buffers in the second.
///
///     guest-physical   in the file   contents
///     0x000000         0x000000      rings: rx at 0x1000, tx at 0x9000
///     0x400000         0x100000      tx slots of 8 KiB, from 0x80000 on rx slots of 4 KiB; a page that is never used at the end
final class FakeFrontEnd {
    static let regionSize: UInt64 = 0x10_0000
    static let bufferStart: UInt64 = 0x40_0000
    static let userStart: UInt64 = 0x7f00_0000_0000
    static let guestCID: UInt64 = 42
    static let queueSize: UInt16 = 128
    static let rxSlots = 64

    let socket: OwnedDescriptor
    var peer: OwnedDescriptor?
    let file: OwnedDescriptor
    let mapping: MemoryMapping
    let memory: GuestMemory
    var rx: DriverVirtqueue
    var tx: DriverVirtqueue
    let rxLayout = VirtqueueLayout(size: queueSize, at: 0x1000)
    let txLayout = VirtqueueLayout(size: queueSize, at: 0x9000)
    let kicks: [EventCounter2]
    let calls: [EventCounter2]
    var nextSlot = 0

    /// A noncopyable value in an array needs a box.
    final class EventCounter2 {
        let counter: EventCounter
        init() throws { counter = try EventCounter() }
        var number: Int32 { counter.descriptor.rawValue }
    }

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard clinux_socketpair_stream(&ends) == 0 else { throw SystemError(code: clinux_errno(), call: "socketpair") }
        socket = OwnedDescriptor(adopting: ends[0])
        peer = OwnedDescriptor(adopting: ends[1])
        file = try MemoryFile.create(name: "vhost-test", count: Int(Self.regionSize) * 2)
        mapping = try MemoryMapping(descriptor: file, count: Int(Self.regionSize) * 2)
        memory = GuestMemory(regions: [
            GuestMemory.Region(address: 0, base: mapping.base, count: Int(Self.regionSize))!,
            GuestMemory.Region(address: Self.bufferStart, base: mapping.base + Int(Self.regionSize), count: Int(Self.regionSize))!,
        ])
        rx = try DriverVirtqueue(rxLayout, in: memory, features: [.eventIndex, .indirectDescriptors])
        tx = try DriverVirtqueue(txLayout, in: memory, features: [.eventIndex, .indirectDescriptors])
        kicks = [try EventCounter2(), try EventCounter2()]
        calls = [try EventCounter2(), try EventCounter2()]
    }

    func backend(_ settings: VsockConfiguration? = nil) throws -> VsockBackend {
        let socket = peer.take()!
        return try VsockBackend(socket: socket, configuration: settings ?? VsockConfiguration(guestCID: Self.guestCID))
    }

    // MARK: messages

    func send(_ request: UInt32, _ payload: [UInt8] = [], _ descriptors: [Int32] = [], flags: UInt32 = 1) throws {
        try sendRaw(bytes(request) + bytes(flags) + bytes(UInt32(payload.count)) + payload, descriptors)
    }

    func sendRaw(_ raw: [UInt8], _ descriptors: [Int32] = []) throws {
        let count = try raw.withUnsafeBytes { try socket.send($0, descriptors: descriptors) }
        #expect(count == raw.count)
    }

    /// The payload of the next reply; nil if there is none.
    func reply() throws -> [UInt8]? {
        var header = [UInt8](repeating: 0, count: 12)
        guard let count = try? header.withUnsafeMutableBytes({ try socket.receive(into: $0, flags: Int32(0x40)) }), count == 12 else {
            return nil
        }
        #expect(number(header, 4, 4) == 5, "version 1 and the reply bit")
        var payload = [UInt8](repeating: 0, count: Int(number(header, 8, 4)))
        if payload.isEmpty { return [] }
        let more = try payload.withUnsafeMutableBytes { try socket.receive(into: $0) }
        #expect(more == payload.count)
        return payload
    }

    struct Region {
        var guest: UInt64
        var size: UInt64
        var user: UInt64
        var offset: UInt64
    }

    static let regions = [
        Region(guest: 0, size: regionSize, user: userStart, offset: 0),
        Region(guest: bufferStart, size: regionSize, user: userStart + 0x1000_0000, offset: regionSize),
    ]

    func sendMemoryTable(_ regions: [Region] = regions, _ descriptors: [Int32]? = nil) throws {
        var payload = bytes(UInt32(regions.count)) + bytes(UInt32(0))
        for region in regions { payload += bytes(region.guest) + bytes(region.size) + bytes(region.user) + bytes(region.offset) }
        try send(5, payload, descriptors ?? regions.map { _ in file.rawValue })
    }

    func sendRing(_ queue: UInt32, _ layout: VirtqueueLayout, base: UInt32 = 0) throws {
        let user = Self.userStart
        try send(8, bytes(queue) + bytes(UInt32(layout.size)))
        try send(10, bytes(queue) + bytes(base))
        try send(
            9,
            bytes(queue) + bytes(UInt32(0)) + bytes(user + layout.descriptors) + bytes(user + layout.device)
                + bytes(user + layout.driver) + bytes(UInt64(0)))
        try send(12, bytes(UInt64(queue)), [kicks[Int(queue)].number])
        try send(13, bytes(UInt64(queue)), [calls[Int(queue)].number])
        try send(18, bytes(queue) + bytes(UInt32(1)))
    }

    /// Everything that QEMU says until the device runs; the guest has given `rxSlots` buffers.
    func start(_ backend: inout VsockBackend, buffers: Int = rxSlots) throws {
        try send(1)
        try send(15)
        try send(16, bytes(UInt64(1 << 0 | 1 << 3 | 1 << 9)))
        try send(3)
        try send(2, bytes(UInt64(1 << 28 | 1 << 29 | 1 << 30 | 1 << 32)))
        try sendMemoryTable()
        try sendRing(0, rxLayout)
        try sendRing(1, txLayout)
        try backend.handleSocketReadable()
        while try reply() != nil {}
        try giveBuffers(buffers)
        try backend.handleKick(queue: 1)
        try backend.flush()
        while backend.nextEvent() != nil {}
        for call in calls { call.counter.drain() }
    }

    // MARK: the guest's driver

    static func rxAddress(_ slot: UInt64) -> UInt64 { bufferStart + 0x80000 + slot * 4096 }

    func giveBuffers(_ count: Int, from first: Int = 0) throws {
        for slot in first..<(first + count) {
            _ = try rx.add([DriverBuffer.writable(Self.rxAddress(UInt64(slot)), 4096)].span, token: UInt64(slot))
        }
        _ = rx.publish()
    }

    /// Puts raw buffers on the tx ring.
    func transmit(_ buffers: [DriverBuffer]) throws {
        while try tx.popUsed() != nil {}
        #expect(try tx.add(buffers.span, token: 0))
        _ = tx.publish()
    }

    /// Puts a packet on the tx ring, in as many readable buffers as `cuts` says.
    func transmit(_ header: VsockHeader, _ payload: [UInt8] = [], cuts: [Int] = [44]) throws {
        let address = Self.bufferStart + UInt64(nextSlot) * 8192
        nextSlot = (nextSlot + 1) % 64
        var packet = [UInt8](repeating: 0, count: 44) + payload
        packet.withUnsafeMutableBytes { header.store(to: $0) }
        packet.withUnsafeBytes { memory.translate(address, length: 8192)!.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        var buffers: [DriverBuffer] = []
        var start = 0
        for cut in cuts + [packet.count] where cut > start {
            buffers.append(.readable(address + UInt64(start), UInt32(cut - start)))
            start = cut
        }
        try transmit(buffers)
    }

    /// What the device put into rx buffers, oldest first; the buffers are given again unless `keep`.
    func packets(keep: Bool = false) throws -> [(header: VsockHeader, payload: [UInt8])] {
        var found: [(header: VsockHeader, payload: [UInt8])] = []
        while let used = try rx.popUsed() {
            let place = memory.translate(Self.rxAddress(used.token), length: 4096)!
            let packet = UnsafeRawBufferPointer(start: place, count: Int(used.length))
            let header = VsockHeader(packet)
            #expect(Int(header.length) == packet.count - 44)
            found.append((header, [UInt8](packet.dropFirst(44))))
            if !keep { try giveBuffers(1, from: Int(used.token)) }
        }
        return found
    }

    /// A header from the guest's port 1000 to the host's 4050.
    func header(
        _ operation: VsockHeader.Operation, port: UInt32 = 1000, length: Int = 0, flags: UInt32 = 0, buffer: UInt32 = 262144,
        forward: UInt32 = 0
    ) -> VsockHeader {
        VsockHeader(
            from: (Self.guestCID, port), to: (2, 4050), operation, length: UInt32(length), flags: flags, bufferSize: buffer,
            forwardCount: forward)
    }

    /// Connects from port 1000, and checks the answer.
    func connect(_ backend: inout VsockBackend, buffer: UInt32 = 262144) throws {
        try transmit(header(.request, buffer: buffer))
        try backend.handleKick(queue: 1)
        try backend.flush()
        #expect(backend.nextEvent() == .connected(port: 1000))
        let answers = try packets()
        #expect(answers.map(\.header.operation) == [VsockHeader.Operation.response.rawValue])
        #expect(answers[0].header.destinationPort == 1000 && answers[0].header.sourcePort == 4050)
        #expect(answers[0].header.bufferSize > 0)
    }
}

func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
    bytes[offset..<(offset + count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

/// The error that a call into the back end ends with; nil if none.
func failure(_ body: () throws -> Void) -> VhostUserError? {
    do { try body() } catch {
        #expect(error is VhostUserError, "\(error)")
        return error as? VhostUserError
    }
    return nil
}

extension VsockBackend {
    mutating func send(_ bytes: [UInt8]) throws -> Bool {
        var result = false
        var caught: VhostUserError?
        bytes.withUnsafeBytes {
            do throws(VhostUserError) { result = try send($0) } catch { caught = error }
        }
        if let caught { throw caught }
        return result
    }

    /// Consumes up to `limit` bytes.
    mutating func take(_ limit: Int = .max) -> [UInt8] {
        var taken: [UInt8] = []
        receive {
            taken = Array($0.prefix(limit))
            return taken.count
        }
        return taken
    }

    mutating func allEvents() -> [VsockEvent] {
        var events: [VsockEvent] = []
        while let event = nextEvent() { events.append(event) }
        return events
    }
}
