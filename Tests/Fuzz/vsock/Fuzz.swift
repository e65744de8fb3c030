import CLinux
import LinuxSystem
import VhostUser
import Virtqueue

// The vsock device, set up as QEMU does it, against a guest that sends any packets and offers any buffers.
//
//     input   a program of operations, the low three bits of a byte:
//             0-2  op u8, how u8, length u8, forward u8, buffer u8, cut u8   a packet, nearly right; `how` says what is wrong with it
//             3    n u8                    the guest offers rx buffers of 16 × n bytes
//             4    offset u16, value u64   the guest scribbles on its rings
//             5    n u8                    the owner consumes n bytes and takes the events
//             6    n u8                    the owner sends 16 × n bytes
//             7                            the owner flushes
//
// The owner's limits hold, credit holds, nothing traps; an error ends the program, as it ends a session.

private let memoryBytes = 1 << 18
private let packets: UInt64 = 0x10000
private let buffers: UInt64 = 0x20000
private let user: UInt64 = 0x7f00_0000_0000

@c(LLVMFuzzerTestOneInput)
public func fuzzVsock(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var input = unsafe FuzzInput(UnsafeBufferPointer(start: start, count: count))
    do {
        var ends: (Int32, Int32) = (-1, -1)
        // SAFETY: the tuple has the layout of int[2].
        _ = unsafe withUnsafeMutableBytes(of: &ends) {
            unsafe clinux_socketpair_stream($0.baseAddress!.assumingMemoryBound(to: Int32.self))
        }
        let peer = OwnedDescriptor(adopting: ends.1)
        let file = try MemoryFile.create(name: "fuzz", count: memoryBytes)
        var mapping = try MemoryMapping(reserving: memoryBytes)
        try mapping.place(descriptor: file.rawValue, offset: 0, count: memoryBytes, at: 0)
        let bell = try EventCounter()
        var backend = try VsockBackend(
            socket: OwnedDescriptor(adopting: ends.0),
            configuration: VsockConfiguration(guestCID: 3, receiveCapacity: 1024, backlogCapacity: 1024))
        let rx = VirtqueueLayout(size: 64, at: 0x1000)
        let tx = VirtqueueLayout(size: 64, at: 0x4000)
        // SAFETY: mapped for that many bytes, as long as this function runs.
        let memory = unsafe PoolMemory(base: mapping.base, count: memoryBytes)
        var guest = Guest(
            memory: memory, rx: try DriverVirtqueue(rx, in: memory, features: [.eventIndex, .indirectDescriptors]),
            tx: try DriverVirtqueue(tx, in: memory, features: [.eventIndex, .indirectDescriptors]))
        try message(peer, 2, words(UInt64(1 << 28 | 1 << 29 | 1 << 32)))
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
        try run(&input, &backend, &guest)
        _ = bell.drain()
        _ = peer.rawValue
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

private func run(_ input: inout FuzzInput, _ backend: inout VsockBackend, _ guest: inout Guest) throws {
    while !input.isEmpty {
        switch input.byte() & 7 {
        case 0, 1, 2:
            try transmit(&input, &guest)
            try backend.handleKick(queue: 1)
        case 3:
            let size = max(1, UInt32(input.byte()) * 16)
            guest.buffer = (guest.buffer + 1) % 32
            _ = try guest.rx.add([DriverBuffer.writable(buffers + guest.buffer * 4096, min(size, 4096))].span, token: 0)
            _ = guest.rx.publish()
            try backend.handleKick(queue: 0)
        case 4:
            _ = guest.memory.store(input.word64(), at: 0x1000 + UInt64(input.word16()) % 0x7000)
        case 5:
            let wanted = Int(input.byte())
            var waiting = 0
            unsafe backend.receive {
                waiting = $0.count
                return wanted
            }
            precondition(waiting <= 1024)
            while backend.nextEvent() != nil {}
        case 6:
            let bytes = [UInt8](repeating: 7, count: Int(input.byte()) * 16)
            let taken = try unsafe bytes.withUnsafeBytes { try unsafe backend.send($0) }
            precondition(!taken || bytes.count <= 1024 && backend.isConnected)
        default:
            try backend.flush()
            while let used = try guest.rx.popUsed() { precondition(used.length >= 44) }
        }
    }
}

private func transmit(_ input: inout FuzzInput, _ guest: inout Guest) throws {
    let operation = input.byte()
    let how = input.byte()
    let length = UInt64(input.byte())
    let forward = input.byte()
    let buffer = input.byte()
    let cut = UInt32(input.byte())
    guest.slot = (guest.slot + 1) % 64
    let place = packets + guest.slot * 1024
    let memory = guest.memory
    func store(_ value: UInt64, _ offset: UInt64) { _ = memory.store(value, at: place + offset) }
    store(how & 1 == 0 ? 3 : 4, 0)
    store(how & 2 == 0 ? 2 : UInt64(how), 8)
    store(1000 + UInt64(how >> 4 & 1) | (how & 4 == 0 ? 4050 : 4051) << 32, 16)
    store(length << (how & 8 == 0 ? 0 : 20) | UInt64(how & 32 == 0 ? 1 : 2) << 32 | UInt64(operation & 15) << 48, 24)
    store(UInt64(operation >> 4) | UInt64(buffer) << 34, 32)
    _ = guest.memory.store(UInt32(forward), at: place + 40)
    let total = 44 + UInt32(length)
    var chain: [DriverBuffer] = []
    if cut > 0, cut < total {
        chain = [.readable(place, cut), .readable(place + UInt64(cut), total - cut)]
    } else {
        chain = [.readable(place, total)]
    }
    if how & 64 != 0 { chain.append(.writable(place, 8)) }
    while try guest.tx.popUsed() != nil {}
    _ = try guest.tx.add(chain.span, token: 0)
    _ = guest.tx.publish()
}
