import CLinux
import LinuxSystem
import VhostUser

// A vhost-user back end against a front end that sends any bytes, with any descriptors, and a guest that scribbles on its memory.
//
//     input   a program of records:
//             0-3  n u16, d u8, n bytes   sends the bytes, with the descriptors that d's bits choose (see `palette`), and lets the back end read
//             4    q u8                   a kick of a queue
//             5    offset u24, value u64  the guest writes to its memory
//             6    n u8                   the owner sends n bytes, and flushes
//             7    address, length u32    the owner maps an extent; consumes what came; resets
//
// Nothing may trap, and AddressSanitizer must stay silent; an error ends the program, as it ends a session.

private let memoryBytes = 1 << 20

@c(LLVMFuzzerTestOneInput)
public func fuzzVhostUser(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var input = unsafe FuzzInput(UnsafeBufferPointer(start: start, count: count))
    do {
        let (socket, front) = try pair()
        let peer = OwnedDescriptor(adopting: front)
        let file = try MemoryFile.create(name: "fuzz", count: memoryBytes)
        var guest = try MemoryMapping(reserving: memoryBytes)
        try guest.place(descriptor: file.rawValue, offset: 0, count: memoryBytes, at: 0)
        let unsealed = OwnedDescriptor(adopting: unsafe clinux_memfd_create("fuzz", 0))
        let bell = try EventCounter()
        let palette = [file.rawValue, file.rawValue, bell.descriptor.rawValue, unsealed.rawValue]
        var backend = try VsockBackend(
            socket: OwnedDescriptor(adopting: socket),
            configuration: VsockConfiguration(guestCID: 3, receiveCapacity: 4096, backlogCapacity: 4096))
        try run(&input, &backend, peer, palette, guest)
    } catch {}
    return 0
}

private func pair() throws -> (Int32, Int32) {
    var ends: (Int32, Int32) = (-1, -1)
    // SAFETY: the tuple has the layout of int[2].
    let result = unsafe withUnsafeMutableBytes(of: &ends) {
        unsafe clinux_socketpair_stream($0.baseAddress!.assumingMemoryBound(to: Int32.self))
    }
    guard result == 0 else { throw SystemError(code: clinux_errno(), call: "socketpair") }
    return ends
}

private func run(
    _ input: inout FuzzInput, _ backend: inout VsockBackend, _ peer: borrowing OwnedDescriptor, _ palette: [Int32],
    _ guest: borrowing MemoryMapping
) throws {
    var replies = [UInt8](repeating: 0, count: 4096)
    while !input.isEmpty {
        switch input.byte() & 7 {
        case 0, 1, 2, 3:
            let count = min(Int(input.word16()), 600)
            let choice = input.byte()
            var bytes: [UInt8] = []
            for _ in 0..<count { bytes.append(input.byte()) }
            guard count > 0 else { continue }
            var descriptors: [Int32] = []
            for (index, descriptor) in palette.enumerated() where choice & 1 << UInt8(index) != 0 { descriptors.append(descriptor) }
            for _ in 0..<(choice >> 4) { descriptors.append(palette[0]) }
            _ = try unsafe bytes.withUnsafeBytes { try unsafe peer.send($0, descriptors: descriptors, flags: 0x40) }
            try backend.handleSocketReadable()
            _ = unsafe replies.withUnsafeMutableBytes { try? unsafe peer.receive(into: $0, flags: 0x40) }
        case 4:
            try backend.handleKick(queue: Int(input.byte() & 1))
        case 5:
            let offset = (Int(input.word16()) | Int(input.byte()) << 16) % (memoryBytes - 8)
            // SAFETY: within the mapping.
            unsafe guest.base.storeBytes(of: input.word64(), toByteOffset: offset, as: UInt64.self)
        case 6:
            let bytes = [UInt8](repeating: 7, count: Int(input.byte()) * 8)
            _ = try unsafe bytes.withUnsafeBytes { try unsafe backend.send($0) }
            try backend.flush()
        default:
            let extent = GuestExtent(address: UInt64(input.word32()), length: UInt64(input.word32()))
            if let pool = try? backend.mapContiguous([extent]) {
                // SAFETY: mapped for `count` bytes.
                unsafe precondition(
                    pool.count == Int(extent.length) && pool.baseAddress.load(fromByteOffset: pool.count - 1, as: UInt8.self) <= 255)
            }
            var most = 0
            unsafe backend.receive {
                most = $0.count
                return $0.count / 2
            }
            precondition(most <= 4096)
            while backend.nextEvent() != nil {}
            if extent.length & 7 == 0 { backend.reset() }
        }
    }
}
