import CLinux
import LinuxSystem
import Testing

@Suite(.serialized) struct IoUringTests {
    /// The next `count` completions by user data; fewer when none came for two seconds.
    private func collect(_ ring: inout IoUring, _ count: Int) throws(SystemError) -> [UInt64: Int32] {
        var found: [UInt64: Int32] = [:]
        let deadline = Clock.monotonic() + 10_000_000_000
        while found.count < count, Clock.monotonic() < deadline {
            try ring.submitAndWait(minimum: 1, timeout: 2_000_000_000)
            while let completion = ring.nextCompletion() { found[completion.userData] = completion.result }
        }
        return found
    }

    @Test func moreOperationsThanEntriesComplete() throws {
        var ring = try IoUring(entries: 8)
        for round in 0..<100 as Range<UInt64> {
            for index in 0..<40 { try ring.push(.nop(), userData: round * 40 + UInt64(index)) }
            let found = try collect(&ring, 40)
            #expect(found.count == 40 && found.keys.allSatisfy { $0 / 40 == round })
        }
        let none = ring.nextCompletion()
        #expect(none == nil)
        let pending = ring.pendingSubmissions
        #expect(pending == 0)
    }

    @Test func completionsThatDoNotFitAreNotLost() throws {
        var ring = try IoUring(entries: 16, completions: 16)
        for index in 0..<160 as Range<UInt64> {
            do throws(SystemError) { try ring.push(.nop(), userData: index) } catch { #expect(error.code == EBUSY) }
        }
        let found = try collect(&ring, 160)
        #expect(found.count >= 32)
    }

    @Test func fileIsWrittenSyncedAndReadInOneChain() throws {
        let scratch = try ScratchDirectory()
        let file = try OwnedDescriptor(path: scratch.file("disk"), [.readWrite, .create])
        var ring = try IoUring(entries: 8)
        let out = try MemoryMapping(anonymous: 4096)
        let back = try MemoryMapping(anonymous: 4096)
        for index in 0..<4096 { out.bytes[index] = UInt8(truncatingIfNeeded: index * 7) }
        try ring.push(.write(file.rawValue, from: UnsafeRawBufferPointer(out.bytes), at: 8192).linkedToNext(), userData: 1)
        try ring.push(.sync(file.rawValue, dataOnly: true).linkedToNext(), userData: 2)
        try ring.push(.read(file.rawValue, into: back.bytes, at: 8192), userData: 3)
        let found = try collect(&ring, 3)
        #expect(found == [1: 4096, 2: 0, 3: 4096])
        #expect(back.bytes.elementsEqual(out.bytes))
        // Keep the size, punch a hole.
        try ring.push(.allocate(file.rawValue, mode: 3, offset: 8192, length: 4096).linkedToNext(), userData: 4)
        try ring.push(.read(file.rawValue, into: back.bytes, at: 8192), userData: 5)
        let later = try collect(&ring, 2)
        #expect(later == [4: 0, 5: 4096])
        #expect(back.bytes.allSatisfy { $0 == 0 })
    }

    @Test func registeredMemoryAndVectorsReadTheSame() throws {
        let file = try MemoryFile.create(name: "drover-test", count: 8192)
        let source = try MemoryMapping(descriptor: file, count: 8192)
        for index in 0..<8192 { source.bytes[index] = UInt8(truncatingIfNeeded: index / 13) }
        var ring = try IoUring(entries: 8)
        let memory = try MemoryMapping(anonymous: 8192)
        try ring.registerBuffers([memory.bytes])
        try ring.registerFiles([file.rawValue])
        try ring.push(
            .readFixed(0, into: UnsafeMutableRawBufferPointer(rebasing: memory.bytes[100..<4196]), at: 7, bufferIndex: 0)
                .onRegisteredFile(), userData: 1)
        let found = try collect(&ring, 1)
        #expect(found == [1: 4096])
        #expect(memory.bytes[100..<4196].elementsEqual(source.bytes[7..<4103]))

        var vectors = [iovec(iov_base: memory.base, iov_len: 10), iovec(iov_base: memory.base + 4096, iov_len: 20)]
        try vectors.withUnsafeMutableBufferPointer { vectors throws(SystemError) in
            try ring.push(.readVectors(file.rawValue, vectors.baseAddress!, count: 2, at: 50), userData: 2)
            try ring.submit()
        }
        let second = try collect(&ring, 1)
        #expect(second == [2: 30])
        #expect(memory.bytes[0..<10].elementsEqual(source.bytes[50..<60]))
        #expect(memory.bytes[4096..<4116].elementsEqual(source.bytes[60..<80]))
    }

    @Test func waitEndsAtItsTimeoutWithoutACompletion() throws {
        var ring = try IoUring(entries: 8)
        let before = Clock.monotonic()
        try ring.submitAndWait(minimum: 1, timeout: 20_000_000)
        #expect(Clock.monotonic() >= before + 20_000_000)
        let none = ring.nextCompletion()
        #expect(none == nil)
    }

    @Test func timeoutsCompleteOrAreCancelled() throws {
        var ring = try IoUring(entries: 8)
        try ring.push(.timeout(nanoseconds: 5_000_000), userData: 1)
        try ring.push(.timeout(nanoseconds: Clock.monotonic() + 6_000_000, absolute: true), userData: 2)
        try ring.push(.timeout(nanoseconds: 100_000_000_000), userData: 3)
        let found = try collect(&ring, 2)
        #expect(found == [1: -ETIME, 2: -ETIME])
        try ring.push(.removeTimeout(3), userData: 4)
        let rest = try collect(&ring, 2)
        #expect(rest == [3: -ECANCELED, 4: 0])
    }

    @Test func multishotPollReportsEachRing() throws {
        var ring = try IoUring(entries: 8)
        let bell = try EventCounter()
        try ring.push(.poll(bell.descriptor.rawValue, events: Int32(POLLIN), multishot: true), userData: 9)
        try ring.submit()
        for _ in 0..<3 {
            bell.signal()
            try ring.submitAndWait(minimum: 1, timeout: 2_000_000_000)
            let completion = ring.nextCompletion()
            #expect(completion?.userData == 9 && completion?.hasMore == true)
            bell.drain()
        }
        try ring.push(.cancel(9), userData: 10)
        let found = try collect(&ring, 2)
        #expect(found == [9: -ECANCELED, 10: 0])
    }

    @Test func socketsAcceptSendAndReceive() throws {
        let scratch = try ScratchDirectory()
        let listener = try UnixSocket.listen(path: scratch.file("s"))
        var ring = try IoUring(entries: 8)
        try ring.push(.accept(listener.rawValue, multishot: true), userData: 1)
        try ring.submit()
        let client = try UnixSocket.connect(path: scratch.file("s"))
        try ring.submitAndWait(minimum: 1, timeout: 2_000_000_000)
        let first = ring.nextCompletion()
        let accepted = try #require(first)
        #expect(accepted.userData == 1 && accepted.result >= 0 && accepted.hasMore)
        let server = OwnedDescriptor(adopting: accepted.result)
        let out = try MemoryMapping(anonymous: 1 << 20)
        let back = try MemoryMapping(anonymous: 1 << 20)
        for index in stride(from: 0, to: 1 << 20, by: 97) { out.bytes[index] = UInt8(truncatingIfNeeded: index) }
        // More than the socket holds: both must go on by themselves.
        try ring.push(.send(client.rawValue, from: UnsafeRawBufferPointer(out.bytes), flags: Int32(0x100)), userData: 2)
        try ring.push(.receive(server.rawValue, into: back.bytes, flags: Int32(0x100)), userData: 3)
        let found = try collect(&ring, 2)
        #expect(found == [2: 1 << 20, 3: 1 << 20])
        #expect(memcmp(out.base, back.base, 1 << 20) == 0)
        try ring.push(.receive(server.rawValue, into: back.bytes), userData: 4)
        try ring.submit()
        try ring.push(.cancelAll(on: server.rawValue), userData: 5)
        let cancelled = try collect(&ring, 2)
        #expect(cancelled == [4: -ECANCELED, 5: 1])
    }
}
