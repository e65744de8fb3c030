import LinuxSystem
import ServerStub
import VirtioMessage

// The first byte chooses: the decoders of both sides over a stream cut into pieces, or a whole server stub whose client sends
// anything and scribbles anything into the pool. Neither may trap, and the server must end when its client goes.

@c(LLVMFuzzerTestOneInput)
public func fuzzVirtioMessage(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    // SAFETY: libFuzzer passes `count` bytes.
    let input = unsafe Array(UnsafeBufferPointer(start: start, count: count))
    guard let first = input.first else { return 0 }
    if first & 1 == 0 {
        decode(input.dropFirst(), piece: Int(first >> 1) + 1)
    } else {
        do throws(SystemError) {
            try serve(input.dropFirst(), isBroughtUp: first & 2 != 0)
        } catch {
            fatalError("the machine, not the input: \(error)")
        }
    }
    return 0
}

private func decode(_ input: ArraySlice<UInt8>, piece: Int) {
    var inbox = MessageInbox()
    var rest = input
    while !rest.isEmpty {
        let part = Array(rest.prefix(piece))
        rest = rest.dropFirst(inbox.fill(from: part.span))
        do throws(MessageError) {
            while let header = try inbox.next() {
                do throws(MessageError) { _ = try DriverMessage(untrusted: header, inbox.message) } catch {}
                do throws(MessageError) {
                    switch try DeviceMessage(untrusted: header, inbox.message) {
                    case .log(let data), .diskName(_, let data), .config(_, _, let data), .configSet(_, _, let data),
                        .eventConfig(_, _, _, let data):
                        precondition(inbox.copy(data).count == data.count)
                    case .pool(let pool):
                        for index in 0..<pool.extentCount { _ = pool.extent(index, in: inbox.message) }
                    default: break
                    }
                } catch {}
            }
        } catch {
            precondition(error.losesFraming)
            return
        }
    }
}

/// Steps of the client: 0: send the bytes; 1: write them into the pool; anything else: let the server work.
private func serve(_ input: ArraySlice<UInt8>, isBroughtUp: Bool) throws(SystemError) {
    let disk = try MemoryFile.create(name: "disk", count: 65536)
    let ends = try UnixSocket.pair()
    let (near, far) = ends.split { (near, far) in Numbers(near: near.release(), far: far.release()) }.both
    let client = OwnedDescriptor(adopting: near)
    let log = StubLog(output: try OwnedDescriptor(path: "/dev/null", .writeOnly), sinceBoot: false)
    var served: ServedDisk? = try ServedDisk(
        path: "/proc/self/fd/\(disk.rawValue)", name: "disk", serial: "fuzz", options: .init(isBuffered: true))
    var server = try StubServer(
        socket: OwnedDescriptor(adopting: far), pool: try ServerPool.native(byteCount: 1 << 20), diskCount: 1, log: log,
        options: .init(pollCap: 0, queueCount: 1)
    ) { _ in served.take()! }
    try server.announce()
    let inbox = MessageInbox()
    // SAFETY: nothing else uses the inbox.
    var received = unsafe try client.receiveDescriptors(into: inbox.unfilled)
    guard let file = received.takeFirst() else { fatalError("no pool came") }
    let pool = try MemoryMapping(descriptor: file, count: 1 << 20)

    var ended = false
    func work(_ server: inout StubServer) throws(SystemError) {
        for _ in 0..<4 where !ended {
            if try server.step(canWait: false) != nil { ended = true }
        }
        // Answers nobody reads would only stop the server.
        do throws(SystemError) {
            // SAFETY: as above.
            while unsafe try client.receive(into: inbox.unfilled, flags: 0x40) > 0 {}  // MSG_DONTWAIT
        } catch {}
    }

    if isBroughtUp {
        var outbox = MessageOutbox()
        do throws(MessageError) {
            _ = try outbox.setDeviceStatus(device: 0, [.acknowledge, .driver])
            _ = try outbox.setDriverFeatures(device: 0, 1 << 32 | 1 << 28)
            _ = try outbox.setDeviceStatus(device: 0, [.acknowledge, .driver, .featuresOK])
            // Eight descriptors at 0, avail ring at 128, used ring at 256: near what an input can easily reach.
            _ = try outbox.setVirtqueue(device: 0, QueueConfiguration(index: 0, size: 8, descriptors: 0, driver: 128, device: 256))
            _ = try outbox.setDeviceStatus(device: 0, [.acknowledge, .driver, .featuresOK, .driverOK])
        } catch {
            fatalError("an empty outbox has room")
        }
        // SAFETY: the outbox is this function's own.
        _ = unsafe try client.send(outbox.pending)
        try work(&server)
    }
    var rest = input
    while !ended, let action = rest.popFirst() {
        switch action & 3 {
        case 0:
            let part = Array(rest.prefix(Int(rest.popFirst() ?? 0)))
            rest = rest.dropFirst(part.count)
            do throws(SystemError) {
                var sent = 0
                var failure: SystemError?
                // SAFETY: the array outlives the call.
                unsafe part.withUnsafeBytes { bytes in
                    do throws(SystemError) { sent = unsafe try client.send(bytes, flags: 0x40) } catch { failure = error }
                }
                if let failure { throw failure }
                _ = sent
            } catch {}
        case 1:
            let place = Int(rest.popFirst() ?? 0) | Int(rest.popFirst() ?? 0) << 8
            let part = Array(rest.prefix(Int(rest.popFirst() ?? 0)))
            rest = rest.dropFirst(part.count)
            // SAFETY: at most 65535 + 255 bytes into a mapping of a megabyte.
            for (index, byte) in part.enumerated() { unsafe pool.bytes[place + index] = byte }
        default:
            try work(&server)
        }
    }
    client.shutdown()
    while !ended {
        if try server.step() != nil { ended = true }
    }
}

private struct Numbers {
    let near: Int32
    let far: Int32
    var both: (Int32, Int32) { (near, far) }
}
