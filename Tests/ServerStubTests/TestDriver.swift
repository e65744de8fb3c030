import CLinux
import Foundation
import LinuxSystem
import VirtioBlock
import VirtioMessage
import Virtqueue

/// A virtio driver for tests: speaks to a server stub over a socket and the pool, waits with a deadline, and can misbehave.
final class TestDriver {
    enum Failure: Error {
        case noAnswer(String)
        case connectionEnded
        case unexpected(DeviceMessage)
        case noPool
    }

    /// What a request came back with.
    struct Answer {
        var status: UInt8
        var data: [UInt8]
        var usedLength: UInt32
    }

    let fixture: ServerFixture
    let pool: MemoryMapping
    let names: [String]
    var outbox = MessageOutbox()
    private var inbox: MessageInbox
    private var queues: [Int: QueueBox] = [:]
    private(set) var logs: [String] = []
    /// EVENT_CONFIG messages that came: the status in each.
    private(set) var statusEvents: [DeviceStatus] = []
    private(set) var doorbells = 0

    private final class QueueBox {
        var ring: DriverVirtqueue
        init(_ ring: consuming DriverVirtqueue) { self.ring = ring }
    }

    /// Takes POOL and the names of as many disks as there are.
    init(_ fixture: ServerFixture, disks: Int = 1) throws {
        self.fixture = fixture
        var inbox = MessageInbox()
        try Self.waitReadable(fixture.client, "POOL")
        var received = try fixture.client.receiveDescriptors(into: inbox.unfilled)
        inbox.filled(received.byteCount)
        guard let header = try inbox.next(),
            case .pool(let description) = try DeviceMessage(untrusted: header, inbox.message), description.isFile,
            let file = received.takeFirst()
        else { throw Failure.noPool }
        let extent = description.extent(0, in: inbox.message)
        pool = try MemoryMapping(descriptor: file, offset: extent.address, count: Int(extent.length))
        var names: [String] = []
        while names.count < disks {
            guard let header = try inbox.next() else {
                try Self.waitReadable(fixture.client, "DISK_NAME")
                inbox.filled(try fixture.client.receive(into: inbox.unfilled))
                continue
            }
            guard case .diskName(_, let name) = try DeviceMessage(untrusted: header, inbox.message) else { continue }
            names.append(String(decoding: inbox.copy(name), as: UTF8.self))
        }
        self.names = names
        self.inbox = inbox
    }

    var memory: PoolMemory { PoolMemory(base: pool.base, count: pool.count) }

    // MARK: messages

    /// Sends what the outbox holds.
    func send() throws {
        while !outbox.isEmpty { outbox.sent(try fixture.client.send(outbox.pending)) }
    }

    func send(raw bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { _ = try fixture.client.send($0) }
    }

    /// The next message that is no event; events are noted.
    func nextAnswer(_ what: String = "an answer") throws -> (header: MessageHeader, message: DeviceMessage, bytes: [UInt8]) {
        while true {
            while let header = try inbox.next() {
                let message = try DeviceMessage(untrusted: header, inbox.message)
                switch message {
                case .log(let text): logs.append(String(decoding: inbox.copy(text), as: UTF8.self))
                case .eventConfig(let status, _, _, _): statusEvents.append(status)
                case .eventUsed: doorbells += 1
                case .diskName, .eventDevice: break
                default:
                    return (header, message, inbox.copy())
                }
            }
            try receive(what)
        }
    }

    private func receive(_ what: String) throws {
        try Self.waitReadable(fixture.client, what)
        let came = try fixture.client.receive(into: inbox.unfilled)
        if came == 0 { throw Failure.connectionEnded }
        inbox.filled(came)
    }

    /// Sends a request, and returns its answer, which must carry the request's token.
    @discardableResult
    func ask(_ request: (inout MessageOutbox) throws -> UInt16) throws -> DeviceMessage {
        let token = try request(&outbox)
        try send()
        let answer = try nextAnswer()
        guard answer.header.token == token, answer.header.isResponse else { throw Failure.unexpected(answer.message) }
        return answer.message
    }

    func ping(_ data: UInt32 = 42) throws -> Bool { try ask { try $0.ping(data) } == .pong(data) }

    func status(device: UInt16 = 0) throws -> DeviceStatus {
        guard case .deviceStatus(let status) = try ask({ try $0.getDeviceStatus(device: device) }) else { return [] }
        return status
    }

    func setStatus(_ status: DeviceStatus, device: UInt16 = 0) throws -> DeviceStatus {
        guard case .deviceStatusSet(let result) = try ask({ try $0.setDeviceStatus(device: device, status) }) else { return [] }
        return result
    }

    func configuration(device: UInt16 = 0) throws -> VirtioBlockConfiguration {
        _ = try outbox.getConfig(device: device, offset: 0, length: UInt32(VirtioBlockConfiguration.byteCount))
        try send()
        let answer = try nextAnswer()
        guard case .config(_, _, let data) = answer.message else { throw Failure.unexpected(answer.message) }
        return VirtioBlockConfiguration(untrusted: Array(answer.bytes[data.offset..<data.offset + data.count]))
    }

    func offeredFeatures(device: UInt16 = 0) throws -> UInt64 {
        guard case .deviceFeatures(let blocks) = try ask({ try $0.getDeviceFeatures(device: device) }) else { return 0 }
        return blocks.bits
    }

    // MARK: bringing a device up

    /// Everything from ACKNOWLEDGE to DRIVER_OK, with the features wanted (all that are offered if nil).
    func start(device: UInt16 = 0, features: UInt64? = nil, queueSize: UInt16 = 64) throws {
        _ = try setStatus([.acknowledge, .driver], device: device)
        let features = try features ?? offeredFeatures(device: device)
        try ask { try $0.setDriverFeatures(device: device, features) }
        let wanted: DeviceStatus = [.acknowledge, .driver, .featuresOK]
        guard try setStatus(wanted, device: device) == wanted else { throw Failure.noAnswer("FEATURES_OK was refused") }
        try setUpQueue(device: device, size: queueSize, features: features)
        _ = try setStatus([.acknowledge, .driver, .featuresOK, .driverOK], device: device)
    }

    /// Queues lie in the first 64 KiB × device of the pool, data behind the first MiB.
    func setUpQueue(device: UInt16 = 0, index: UInt32 = 0, size: UInt16 = 64, features: UInt64) throws {
        let place = UInt64(device) * 65536 + UInt64(index) * 16384
        let layout = VirtqueueLayout(size: size, at: place, indirectEntries: 4)
        let ring = try DriverVirtqueue(layout, in: memory, features: VirtqueueFeatures(rawValue: features))
        queues[Int(device) << 16 | Int(index)] = QueueBox(ring)
        try ask {
            try $0.setVirtqueue(
                device: device,
                QueueConfiguration(
                    index: index, size: UInt32(size), descriptors: layout.descriptors, driver: layout.driver, device: layout.device))
        }
    }

    // MARK: requests

    /// Offers a chain without waiting for it. `token` names it among those that come back.
    func offer(_ buffers: [DriverBuffer], token: UInt64 = 0, device: UInt16 = 0, queue: UInt32 = 0, doorbell: Bool = true) throws {
        guard let box = queues[Int(device) << 16 | Int(queue)] else { throw Failure.noAnswer("no such queue") }
        guard try box.ring.add(buffers.span, token: token) else { throw Failure.noAnswer("room in the queue") }
        // Asked for before publishing, so that the answer's doorbell cannot be missed.
        _ = box.ring.enableNotification()
        if box.ring.publish() && doorbell {
            try outbox.eventAvail(device: device, queue: queue)
            try send()
        }
    }

    /// The next chain that came back, waiting for the doorbell if there is none yet.
    func nextUsed(device: UInt16 = 0, queue: UInt32 = 0) throws -> UsedChain {
        guard let box = queues[Int(device) << 16 | Int(queue)] else { throw Failure.noAnswer("no such queue") }
        while true {
            if let used = try box.ring.popUsed() { return used }
            if box.ring.enableNotification() { continue }
            try receive("EVENT_USED")
            while let header = try inbox.next() {
                if case .eventUsed = try DeviceMessage(untrusted: header, inbox.message) { doorbells += 1 }
            }
        }
    }

    /// Header, data out, room for data in, status: offered as one chain, and waited for.
    func request(
        type: UInt32, sector: UInt64, out: [UInt8] = [], in room: Int = 0, device: UInt16 = 0, queue: UInt32 = 0
    ) throws -> Answer {
        let (header, data, status): (UInt64, UInt64, UInt64) = (1 << 20, 1 << 20 | 4096, 1 << 20 | 2048)
        write(header: type, sector, at: header)
        memory.bytes(at: status, count: 1)?[0] = 0xFF
        var buffers = [DriverBuffer.readable(header, 16)]
        if !out.isEmpty {
            memory.bytes(at: data, count: out.count)?.copyBytes(from: out)
            buffers.append(.readable(data, UInt32(out.count)))
        }
        if room > 0 {
            memory.bytes(at: data, count: room)?.copyBytes(from: [UInt8](repeating: 0xEE, count: room))
            buffers.append(.writable(data, UInt32(room)))
        }
        buffers.append(.writable(status, 1))
        try offer(buffers, device: device, queue: queue)
        let used = try nextUsed(device: device, queue: queue)
        return Answer(
            status: memory.load(at: status, as: UInt8.self) ?? 0xFE, data: Array(memory.bytes(at: data, count: room)!),
            usedLength: used.length)
    }

    func write(header type: UInt32, _ sector: UInt64, at offset: UInt64) {
        _ = memory.store(type.littleEndian, at: offset)
        _ = memory.store(UInt32(0), at: offset + 4)
        _ = memory.store(sector.littleEndian, at: offset + 8)
    }

    private static func waitReadable(_ socket: borrowing OwnedDescriptor, _ what: String) throws {
        var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 10_000) == 1 else { throw Failure.noAnswer(what) }
    }
}
