import CLinux
import LinuxSystem
import NetworkStub
import VhostUser
import Virtqueue

// The network device, set up as QEMU does it, against a guest that offers any chains with any headers, and scribbles on its rings.
// A pair of datagram sockets stands for the TAP: packets keep their bounds, and nothing waits.
//
//     input   features u16 (what of the offered ones is negotiated), then a program of operations, the low three bits of a byte:
//             0-1  flags u8, gso u8, size u16, start u16, cut u8, length u16   a packet, in one or two buffers; `cut` 255: one of them writable
//             2    n u8, size u16         the guest offers n % 16 rx buffers of that size
//             3    length u16, flags u8, gso u8   the host sends a packet
//             4    offset u16, value u64  the guest scribbles on its rings
//             5    n u8                   chains of the guest's own making: descriptor n is any 16 bytes
//             6-7                         the device serves
//
// Nothing traps, nothing outside of guest memory is touched (ASan), packets that come out have whole headers; an error ends the program.

private let memoryBytes = 1 << 20
private let packets: UInt64 = 0x20000
private let buffers: UInt64 = 0x80000
private let user: UInt64 = 0x7f00_0000_0000

@c(LLVMFuzzerTestOneInput)
public func fuzzVhostNet(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var input = unsafe FuzzInput(UnsafeBufferPointer(start: start, count: count))
    do {
        var ends: (Int32, Int32) = (-1, -1)
        var tap: (Int32, Int32) = (-1, -1)
        // SAFETY: the tuples have the layout of int[2].
        _ = unsafe withUnsafeMutableBytes(of: &ends) {
            unsafe clinux_socketpair_stream($0.baseAddress!.assumingMemoryBound(to: Int32.self))
        }
        _ = unsafe withUnsafeMutableBytes(of: &tap) {
            unsafe socketpair(AF_UNIX, 2 | 0o4000, 0, $0.baseAddress!.assumingMemoryBound(to: Int32.self))
        }
        let peer = OwnedDescriptor(adopting: ends.1)
        let wire = OwnedDescriptor(adopting: tap.0)
        let host = OwnedDescriptor(adopting: tap.1)
        let file = try MemoryFile.create(name: "fuzz", count: memoryBytes)
        var mapping = try MemoryMapping(reserving: memoryBytes)
        try mapping.place(descriptor: file.rawValue, offset: 0, count: memoryBytes, at: 0)
        let bell = try EventCounter()
        var backend = try BackendConnection(
            socket: OwnedDescriptor(adopting: ends.0),
            device: NetworkDevice(descriptors: [wire.rawValue], cutsDatagrams: true))
        let rx = VirtqueueLayout(size: 64, at: 0x1000)
        let tx = VirtqueueLayout(size: 64, at: 0x4000)
        // SAFETY: mapped for that many bytes, as long as this function runs.
        let memory = unsafe PoolMemory(base: mapping.base, count: memoryBytes)
        var guest = Guest(
            memory: memory, rx: try DriverVirtqueue(rx, in: memory, features: [.eventIndex, .indirectDescriptors]),
            tx: try DriverVirtqueue(tx, in: memory, features: [.eventIndex, .indirectDescriptors]))
        let wanted = UInt64(input.word16()) | 7 << 54 | 3 << 28 | 1 << 32
        try message(peer, 2, words(wanted & (backend.device.features | 3 << 28 | 1 << 32)))
        try message(
            peer, 5, words(UInt64(1)) + words(UInt64(0)) + words(UInt64(memoryBytes)) + words(user) + words(UInt64(0)), file.rawValue)
        for (queue, layout) in [(UInt64(0), rx), (1, tx)] {
            try message(peer, 8, words(queue | UInt64(layout.size) << 32))
            try message(
                peer, 9,
                words(queue) + words(user + layout.descriptors) + words(user + layout.device) + words(user + layout.driver)
                    + words(UInt64(0)))
            try message(peer, 12, words(queue), bell.descriptor.rawValue)
        }
        try backend.handleSocketReadable()
        try run(&input, &backend, &guest, host)
        try message(peer, 11, words(UInt64(0)))
        try backend.handleSocketReadable()
        _ = bell.drain()
        _ = wire.rawValue
    } catch {}
    return 0
}

private struct Guest: ~Copyable {
    let memory: PoolMemory
    var rx: DriverVirtqueue
    var tx: DriverVirtqueue
    var slot: UInt64 = 0
    var buffer: UInt64 = 0
}

private func words(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) } }

private func message(_ peer: borrowing OwnedDescriptor, _ request: UInt8, _ payload: [UInt8], _ descriptor: Int32? = nil) throws {
    let bytes: [UInt8] = [request, 0, 0, 0, 1, 0, 0, 0, UInt8(payload.count), 0, 0, 0] + payload
    _ = try unsafe bytes.withUnsafeBytes { try unsafe peer.send($0, descriptors: descriptor.map { [$0] } ?? []) }
}

private func run(
    _ input: inout FuzzInput, _ backend: inout BackendConnection<NetworkDevice>, _ guest: inout Guest, _ host: borrowing OwnedDescriptor
) throws {
    while !input.isEmpty {
        switch input.byte() & 7 {
        case 0, 1: try transmit(&input, &guest)
        case 2:
            let count = Int(input.byte() % 16)
            let size = UInt32(input.word16()) % 8192 + 1
            for _ in 0..<count {
                guest.buffer = (guest.buffer + 1) % 32
                while try guest.rx.popUsed() != nil {}
                _ = try guest.rx.add([DriverBuffer.writable(buffers + guest.buffer * 8192, size)].span, token: 0)
            }
            _ = guest.rx.publish()
            backend.device.kicked(0)
        case 3:
            var bytes = [UInt8](repeating: 9, count: 12 + Int(input.word16()))
            bytes[0] = input.byte()
            bytes[1] = input.byte()
            _ = try? unsafe bytes.withUnsafeBytes { try unsafe host.send($0) }
            backend.device.becameReadable(0)
        case 4: _ = guest.memory.store(input.word64(), at: 0x1000 + UInt64(input.word16()) % 0x7000)
        case 5:
            let place = 0x1000 + UInt64(input.byte() % 128) * 16
            _ = guest.memory.store(input.word64(), at: place)
            _ = guest.memory.store(input.word64(), at: place + 8)
        default:
            _ = try backend.device.serve(&backend.rings, rearm: true)
            backend.rings.publish()
            drain(host)
        }
    }
}

/// What comes out has a whole header, and one that says nothing but what a device may be asked for.
private func drain(_ host: borrowing OwnedDescriptor) {
    var room = [UInt8](repeating: 0, count: 70000)
    while let count = try? unsafe room.withUnsafeMutableBytes({ try unsafe host.receive(into: $0, flags: 0x40) }), count > 0 {
        precondition(count >= 12 + 14 && room[0] <= 1 && room[10] == 0 && room[11] == 0)
    }
}

private func transmit(_ input: inout FuzzInput, _ guest: inout Guest) throws {
    let flags = UInt64(input.byte()) | UInt64(input.byte()) << 8
    let size = UInt64(input.word16())
    let start = UInt64(input.word16())
    let cut = UInt32(input.byte())
    let length = UInt32(input.word16()) % 4096 + 1
    guest.slot = (guest.slot + 1) % 32
    let place = packets + guest.slot * 4096
    _ = guest.memory.store(flags | size << 16 | size << 32 | start << 48, at: place)
    _ = guest.memory.store(UInt32(start), at: place + 8)
    var chain: [DriverBuffer] = []
    if cut > 0, cut < length {
        chain = [.readable(place, cut), .readable(place + UInt64(cut), length - cut)]
    } else {
        chain = [.readable(place, length)]
    }
    if cut == 255 { chain.append(.writable(place, 8)) }
    while try guest.tx.popUsed() != nil {}
    _ = try guest.tx.add(chain.span, token: 0)
    _ = guest.tx.publish()
}
