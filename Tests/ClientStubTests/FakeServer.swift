import VirtioBlock
import VirtioMessage
import Virtqueue

@testable import ClientStub

/// A DD/OS in this process: answers as a server stub does, on the same pool, and lies when it is told to.
final class FakeServer {
    /// What goes into the used ring and the status byte.
    struct Finish {
        var head: UInt16
        var length: UInt32
        var status: UInt8
    }

    var name = "vda"
    var disk: [UInt8]
    var blockSize: UInt32 = 512
    var features: VirtioBlockFeatures = [.version1, .flush, .blockSize, .discard, .writeZeroes, .indirectDescriptors, .eventIndex]
    var queueSize: UInt32 = 64
    var discardSectors: UInt32 = 128
    var zeroesSectors: UInt32 = 128
    /// Changes what a request ends with, before the client sees it.
    var tamper: (inout Finish) -> Void = { _ in }
    /// Operations in the order in which they were served.
    var served: [(operation: VirtioBlockOperation, sector: UInt64)] = []
    /// How many more requests are served; the rest stays in flight.
    var patience = Int.max
    var doorbells = 0
    var answersPings = true
    /// What the disk says it is.
    var serial = "SERIAL-1"
    /// The status of the answer to the question for the serial number.
    var identifyStatus: UInt8 = 0
    var identifiesItself = true
    private var isIdentified = false

    let memory: PoolMemory
    private var queue: DeviceVirtqueue?
    private var chain = DescriptorChain(capacity: 16)
    private var inbox = MessageInbox()
    private(set) var outbox = MessageOutbox()

    init(memory: PoolMemory, diskBytes: Int) {
        self.memory = memory
        disk = [UInt8](repeating: 0, count: diskBytes)
    }

    /// The messages waiting to be received by the client, taken.
    func takeBytes() -> [UInt8] {
        let bytes = Array(outbox.pending)
        outbox.sent(bytes.count)
        return bytes
    }

    func greet() throws {
        try outbox.diskName(number: 0, Array(name.utf8).span)
    }

    func received(_ bytes: [UInt8]) throws {
        _ = inbox.fill(from: bytes.span)
        while let (header, message) = try nextMessage(&inbox) {
            try answer(DriverMessage(untrusted: header, message.span), header)
        }
    }

    /// Sends bytes as they are.
    func send(_ change: (inout MessageOutbox) throws -> Void) throws { try change(&outbox) }

    private func answer(_ message: DriverMessage, _ header: MessageHeader) throws {
        let (device, token) = (header.device, header.token)
        switch message {
        case .getDevices:
            try outbox.devices(token: token, DeviceWindow(offset: 0, count: 64, next: 0, present: 1))
        case .ping(let data):
            if answersPings { try outbox.pong(token: token, data) }
        case .getDeviceInfo:
            try outbox.deviceInfo(
                device: device, token: token,
                DeviceInfo(
                    deviceID: 2, featureBits: 64, configurationSize: UInt32(VirtioBlockConfiguration.byteCount), maximumVirtqueues: 1))
        case .getDeviceFeatures(let asked):
            try outbox.deviceFeatures(device: device, token: token, asked: asked, features: features.rawValue)
        case .setDriverFeatures:
            try outbox.driverFeaturesSet(device: device, token: token)
        case .setDeviceStatus(let new):
            try outbox.deviceStatusSet(device: device, token: token, new)
        case .getConfig:
            var configuration = VirtioBlockConfiguration()
            configuration.capacity = UInt64(disk.count / 512)
            configuration.blockSize = blockSize
            configuration.maximumDiscardSectors = discardSectors
            configuration.maximumDiscardSegments = 1
            configuration.maximumWriteZeroesSectors = zeroesSectors
            configuration.maximumWriteZeroesSegments = 1
            let bytes = configuration.encoded()
            try outbox.config(device: device, token: token, generation: 0, offset: 0, data: bytes.span)
        case .getVirtqueue:
            try outbox.virtqueue(
                device: device, token: token,
                QueueConfiguration(index: 0, maximumSize: queueSize, size: 0, descriptors: 0, driver: 0, device: 0))
        case .setVirtqueue(let set):
            let layout = try VirtqueueLayout(
                untrustedSize: set.size, descriptors: set.descriptors, driver: set.driver, device: set.device, in: memory)
            queue = try DeviceVirtqueue(layout, in: memory, features: [.indirectDescriptors, .eventIndex])
            _ = queue?.enableNotification()
            isIdentified = false
            try outbox.virtqueueSet(device: device, token: token)
        case .eventAvail:
            if isIdentified { doorbells += 1 } else if identifiesItself { try identify(device) }
        default:
            break
        }
    }

    /// Answers the first request of a driver: which disk this is.
    private func identify(_ device: UInt16) throws {
        guard try queue?.pop(from: memory, into: &chain) ?? false else { return }
        isIdentified = true
        var bytes = Array(serial.utf8.prefix(20))
        bytes += [UInt8](repeating: 0, count: 20 - bytes.count)
        _ = bytes.withUnsafeBytes { chain.copyWritable(from: $0) }
        _ = chain.storeLastWritableByte(identifyStatus)
        queue?.pushUsed(head: chain.head, length: 21)
        _ = queue?.publishUsed()
        _ = queue?.enableNotification()
        try outbox.eventUsed(device: device, queue: 0)
    }

    /// Serves what is on the ring; returns how many requests.
    @discardableResult
    func serve() throws -> Int {
        var count = 0
        while patience > 0, try queue?.pop(from: memory, into: &chain) ?? false {
            patience -= 1
            count += 1
            var header = [UInt8](repeating: 0, count: 16)
            _ = header.withUnsafeMutableBytes { chain.copyReadable(into: $0) }
            let request = header.withUnsafeBytes { VirtioBlockHeader(loading: $0.baseAddress!) }
            var finish = Finish(head: chain.head, length: 1, status: 0)
            if let operation = request.operation {
                served.append((operation, request.sector))
                let place = Int(request.sector) * 512
                switch operation {
                case .read:
                    let bytes = Int(chain.writableBytes) - 1
                    _ = disk[place..<(place + bytes)].withUnsafeBytes { chain.copyWritable(from: $0) }
                    finish.length = UInt32(bytes) + 1
                case .write:
                    let bytes = Int(chain.readableBytes) - 16
                    disk[place..<(place + bytes)].withUnsafeMutableBytes { _ = chain.copyReadable(from: 16, into: $0) }
                default:
                    break
                }
            }
            tamper(&finish)
            _ = chain.storeLastWritableByte(finish.status)
            queue?.pushUsed(head: finish.head, length: finish.length)
            _ = queue?.publishUsed()
        }
        return count
    }

    /// Puts an entry on the used ring that answers nothing.
    func forge(head: UInt16, length: UInt32) {
        queue?.pushUsed(head: head, length: length)
        _ = queue?.publishUsed()
    }
}

/// The next message, as a copy.
private func nextMessage(_ inbox: inout MessageInbox) throws -> (MessageHeader, [UInt8])? {
    guard let header = try inbox.next() else { return nil }
    var bytes: [UInt8] = []
    let message = inbox.message
    for index in message.indices { bytes.append(message[index]) }
    return (header, bytes)
}

/// An engine with a fake server on the other side of its pool.
final class EngineFixture {
    var engine: BlockEngine
    var outbox = MessageOutbox()
    var server: FakeServer
    private var inbox = MessageInbox()
    var now: UInt64 = 1_000_000_000

    init(_ configuration: EngineConfiguration = EngineFixture.quick, diskBytes: Int = 1 << 20) throws {
        engine = BlockEngine(configuration, now: now)
        server = FakeServer(memory: try PoolRegion(privateBytes: 4096).memory, diskBytes: diskBytes)
    }

    static var quick: EngineConfiguration {
        var configuration = EngineConfiguration()
        configuration.maximumRequestBytes = 64 << 10
        configuration.queueSize = 32
        configuration.holdingBytes = 1 << 20
        return configuration
    }

    /// A new life of the server, up to a session. `prepare` changes it before it speaks.
    func connect(generation: UInt64 = 1, poolBytes: Int = 2 << 20, _ prepare: (FakeServer) -> Void = { _ in }) throws {
        _ = engine.open(generation: generation)
        let region = try PoolRegion(privateBytes: poolBytes)
        let disk = server.disk
        server = FakeServer(memory: region.memory, diskBytes: 0)
        server.disk = disk
        prepare(server)
        inbox.reset()
        outbox.reset()
        engine.beginSession(now: now)
        try engine.poolArrived(region, &outbox, now: now)
        try server.greet()
        try exchange()
    }

    /// Moves messages both ways until there are none.
    func exchange() throws {
        while true {
            try engine.publish(&outbox)
            let sent = Array(outbox.pending)
            outbox.sent(sent.count)
            if !sent.isEmpty { try server.received(sent) }
            let came = server.takeBytes()
            if sent.isEmpty, came.isEmpty { return }
            _ = inbox.fill(from: came.span)
            while let (header, bytes) = try nextMessage(&inbox) {
                let message = try DeviceMessage(untrusted: header, bytes.span)
                try engine.received(message, header, bytes.span, &outbox, now: now)
            }
        }
    }

    /// Lets the server serve, and takes back what it has finished.
    func turn() throws {
        try exchange()
        try server.serve()
        engine.now = now
        _ = try engine.takeUsed()
        try exchange()
    }

    func completions() -> [UInt64: BlockStatus] {
        var found: [UInt64: BlockStatus] = [:]
        while let completion = engine.nextCompletion() { found[completion.tag] = completion.status }
        return found
    }

    func write(_ tag: UInt64, _ byte: UInt8, at offset: UInt64, bytes: Int = 4096, fua: Bool = false) -> BufferHandle? {
        guard let buffer = engine.allocate(bytes: bytes) else { return nil }
        engine.pointer(of: buffer).initializeMemory(as: UInt8.self, repeating: byte)
        engine.submit(export: 0, operation: .write, offset: offset, length: UInt32(bytes), fua: fua, buffer: buffer, tag: tag)
        return buffer
    }

    func read(_ tag: UInt64, at offset: UInt64, bytes: Int = 4096) -> BufferHandle? {
        guard let buffer = engine.allocate(bytes: bytes) else { return nil }
        engine.submit(export: 0, operation: .read, offset: offset, length: UInt32(bytes), fua: false, buffer: buffer, tag: tag)
        return buffer
    }
}
