import ClientStub
import Synchronization

/// What the test can see and change of a service while the server's thread runs.
final class ServiceState: Sendable {
    /// Requests are kept, as if the DD/OS were down.
    let holds = Atomic<Bool>(false)
    /// The next requests fail.
    let fails = Atomic<Bool>(false)
    let exportsKnown = Atomic<Bool>(true)
    let handshakePatience = Atomic<UInt64>(.max)
    let bytesInUse = Atomic<Int>(0)
    let mostBytesInUse = Atomic<Int>(0)
    let requests = Atomic<Int>(0)
    let flushes = Atomic<Int>(0)
    let largestRequest = Atomic<Int>(0)
    let clients = Atomic<Int>(0)
    let log = Mutex<[String]>([])
}

/// Disks in memory behind a pool of bounded size: what a stub offers to its front end, without a DD/OS.
struct MemoryService: BlockService, ~Copyable {
    let exports: [BlockExport]
    let state: ServiceState
    let bufferLimit: Int
    private let poolBytes: Int
    private var disks: [UnsafeMutableRawBufferPointer]
    private var buffers: [UnsafeMutableRawBufferPointer] = []
    private var freeBuffers: [UInt32] = []
    private var held: [(export: Int, operation: BlockOperation, offset: UInt64, length: UInt32, buffer: BufferHandle?, tag: UInt64)] = []
    private var completions: [BlockCompletion] = []
    private var starved = false
    private var released = false

    init(exports: [BlockExport], poolBytes: Int, state: ServiceState) {
        self.exports = exports
        self.state = state
        self.poolBytes = poolBytes
        bufferLimit = poolBytes
        disks = exports.map {
            let disk = UnsafeMutableRawBufferPointer.allocate(byteCount: Int($0.size), alignment: 4096)
            disk.initializeMemory(as: UInt8.self, repeating: 0)
            return disk
        }
    }

    deinit {
        for disk in disks { disk.deallocate() }
        for buffer in buffers { buffer.deallocate() }
    }

    var handshakePatience: UInt64 { state.handshakePatience.load(ordering: .relaxed) }

    var exportsKnown: Bool { state.exportsKnown.load(ordering: .relaxed) }

    mutating func allocate(bytes: Int) -> BufferHandle? {
        precondition(bytes > 0 && bytes <= bufferLimit)
        let inUse = state.bytesInUse.load(ordering: .relaxed)
        guard inUse + bytes <= poolBytes else {
            starved = true
            return nil
        }
        state.bytesInUse.store(inUse + bytes, ordering: .relaxed)
        if inUse + bytes > state.mostBytesInUse.load(ordering: .relaxed) { state.mostBytesInUse.store(inUse + bytes, ordering: .relaxed) }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 4096)
        if let index = freeBuffers.popLast() {
            buffers[Int(index)] = memory
            return BufferHandle(index: index)
        }
        buffers.append(memory)
        return BufferHandle(index: UInt32(buffers.count - 1))
    }

    func pointer(of buffer: BufferHandle) -> UnsafeMutableRawBufferPointer { buffers[Int(buffer.index)] }

    mutating func release(_ buffer: BufferHandle) {
        let memory = buffers[Int(buffer.index)]
        precondition(memory.count > 0, "released twice")
        state.bytesInUse.subtract(memory.count, ordering: .relaxed)
        memory.deallocate()
        buffers[Int(buffer.index)] = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        freeBuffers.append(buffer.index)
        released = true
    }

    mutating func submit(
        export: Int, operation: BlockOperation, offset: UInt64, length: UInt32, fua: Bool, buffer: BufferHandle?, tag: UInt64
    ) {
        held.append((export, operation, offset, length, buffer, tag))
        if fua { state.flushes.add(1, ordering: .relaxed) }
    }

    /// Does what was submitted, unless it is to be kept.
    mutating func work() {
        guard !state.holds.load(ordering: .relaxed) else { return }
        for request in held {
            state.requests.add(1, ordering: .relaxed)
            let largest = state.largestRequest.load(ordering: .relaxed)
            if Int(request.length) > largest { state.largestRequest.store(Int(request.length), ordering: .relaxed) }
            if state.fails.load(ordering: .relaxed) {
                completions.append(BlockCompletion(tag: request.tag, status: .ioError))
                continue
            }
            let disk = disks[request.export]
            let range = Int(request.offset)..<Int(request.offset) + Int(request.length)
            precondition(range.upperBound <= disk.count, "a request past the end reached the service")
            switch request.operation {
            case .read:
                UnsafeMutableRawBufferPointer(rebasing: buffers[Int(request.buffer!.index)][..<Int(request.length)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: disk[range]))
            case .write:
                UnsafeMutableRawBufferPointer(rebasing: disk[range])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffers[Int(request.buffer!.index)][..<Int(request.length)]))
            case .discard, .writeZeroes:
                let limit =
                    request.operation == .discard ? exports[request.export].maxDiscardBytes : exports[request.export].maxWriteZeroesBytes
                precondition(request.length <= limit, "a piece is larger than the disk takes")
                UnsafeMutableRawBufferPointer(rebasing: disk[range]).initializeMemory(as: UInt8.self, repeating: 0)
            case .flush:
                state.flushes.add(1, ordering: .relaxed)
            }
            completions.append(BlockCompletion(tag: request.tag, status: .ok))
        }
        held.removeAll(keepingCapacity: true)
    }

    var hasCompletions: Bool { !completions.isEmpty }

    mutating func nextCompletion() -> BlockCompletion? { completions.popLast() }

    /// Something was released after an allocation had failed.
    mutating func takeBuffersAvailable() -> Bool {
        guard starved && released else { return false }
        starved = false
        released = false
        return true
    }
}
