import CLinux
import LinuxSystem
import Testing

@Suite(.serialized) struct MemoryAndSocketTests {
    @Test func memoryFileIsSharedAndItsSizeSealed() throws {
        let file = try MemoryFile.create(name: "drover-test", count: 8192)
        let one = try MemoryMapping(descriptor: file, count: 8192)
        let other = try MemoryMapping(descriptor: file, offset: 4096, count: 4096, readOnly: true)
        one.bytes[4096] = 42
        #expect(other.bytes[0] == 42)
        #expect(ftruncate(file.rawValue, 4096) != 0)
        #expect(ftruncate(file.rawValue, 16384) != 0)
    }

    @Test func extentsLieSideBySide() throws {
        let file = try MemoryFile.create(name: "drover-test", count: 16384)
        let whole = try MemoryMapping(descriptor: file, count: 16384)
        var pool = try MemoryMapping(reserving: 8192)
        try pool.place(descriptor: file.rawValue, offset: 12288, count: 4096, at: 0)
        try pool.place(descriptor: file.rawValue, offset: 4096, count: 4096, at: 4096)
        pool.bytes[0] = 1
        pool.bytes[4096] = 2
        #expect(whole.bytes[12288] == 1 && whole.bytes[4096] == 2)
    }

    @Test(arguments: [(-4096, 4096), (4096, 8192), (8192, 4096), (0, 12288), (Int.max, 4096), (0, 0)])
    func extentOutsideTheReservationIsRefused(position: Int, count: Int) throws {
        let file = try MemoryFile.create(name: "drover-test", count: 16384)
        var pool = try MemoryMapping(reserving: 8192)
        do throws(SystemError) {
            try pool.place(descriptor: file.rawValue, offset: 0, count: count, at: position)
            Issue.record("placed")
        } catch { #expect(error.code == EINVAL) }
    }

    @Test func anonymousMemoryIsZeroed() throws {
        let memory = try MemoryMapping(anonymous: 65536)
        #expect(memory.bytes.allSatisfy { $0 == 0 })
    }

    @Test func descriptorsTravelWithTheirBytes() throws {
        let file = try MemoryFile.create(name: "drover-test", count: 4096)
        let mapping = try MemoryMapping(descriptor: file, count: 4096)
        mapping.bytes[7] = 77
        let pair = try UnixSocket.pair()
        let sent = try pair.first.send(Array("pool".utf8), descriptors: [file.rawValue, file.rawValue])
        #expect(sent == 4)
        var buffer = [UInt8](repeating: 0, count: 16)
        var received = try receive(pair.second, &buffer, limit: 4)
        #expect(received.byteCount == 4 && received.count == 2)
        let first = received.takeFirst()!
        let second = try MemoryMapping(descriptor: first, count: 4096)
        #expect(second.bytes[7] == 77)
        #expect(received.count == 1)
    }

    @Test func tooManyDescriptorsAreClosedAndRefused() throws {
        let witness = try Witness()
        let pair = try UnixSocket.pair()
        _ = try pair.first.send([1], descriptors: [Int32](repeating: witness.far, count: 5))
        let watching = witness.closingFar()
        var buffer = [UInt8](repeating: 0, count: 16)
        do throws(SystemError) {
            _ = try receive(pair.second, &buffer, limit: 4)
            Issue.record("received")
        } catch { #expect(error.code == EMSGSIZE) }
        #expect(try everyCopyIsClosed(watching))
    }

    @Test func descriptorsNobodyTakesAreClosed() throws {
        let witness = try Witness()
        let pair = try UnixSocket.pair()
        _ = try pair.first.send([1], descriptors: [witness.far, witness.far])
        let watching = witness.closingFar()
        var buffer = [UInt8](repeating: 0, count: 16)
        do {
            let received = try receive(pair.second, &buffer, limit: 4)
            #expect(received.count == 2)
            #expect(try !everyCopyIsClosed(watching))
        }
        #expect(try everyCopyIsClosed(watching))
    }

    private func receive(
        _ socket: borrowing OwnedDescriptor, _ buffer: inout [UInt8], limit: Int
    ) throws(SystemError) -> ReceivedDescriptors {
        let place = UnsafeMutableRawBufferPointer.allocate(byteCount: buffer.count, alignment: 1)
        defer { place.deallocate() }
        let received = try socket.receiveDescriptors(into: place, limit: limit)
        buffer = Array(place)
        return received
    }

    @Test func listenerReplacesWhatADeadOneLeft() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.file("s")
        do { _ = try UnixSocket.listen(path: path) }
        do throws(SystemError) {
            _ = try UnixSocket.connect(path: path)
            Issue.record("connected to nobody")
        } catch { #expect(error.code == ECONNREFUSED) }
        let listener = try UnixSocket.listen(path: path)
        let status = try FileStatus(path: path)
        #expect(status.isSocket && status.mode & 0o777 == 0o600)
        let client = try UnixSocket.connect(path: path)
        let server = try UnixSocket.accept(on: listener)
        let peer = try server.peerProcess()
        #expect(peer == ProcessControl.identifier)
        try client.setNonBlocking(true)
        let place = UnsafeMutableRawBufferPointer.allocate(byteCount: 4, alignment: 1)
        defer { place.deallocate() }
        do throws(SystemError) {
            _ = try client.receive(into: place)
            Issue.record("received nothing")
        } catch { #expect(error.code == EAGAIN) }
        server.shutdown()
        let came = try client.receive(into: place)
        #expect(came == 0)
    }

    @Test(arguments: ["file", "link", "directory"]) func listenerLeavesWhatIsNoSocketAlone(kind: String) throws {
        let scratch = try ScratchDirectory()
        let path = scratch.file("s")
        let target = scratch.file("target")
        close(creat(target, 0o600))
        switch kind {
        case "file": #expect(rename(target, path) == 0)
        case "link": #expect(symlink(target, path) == 0)
        default: #expect(mkdir(path, 0o700) == 0)
        }
        let before = try FileStatus(withoutFollowing: path)
        #expect(throws: SystemError(code: EADDRINUSE, call: "bind")) { _ = try UnixSocket.listen(path: path) }
        #expect(try FileStatus(withoutFollowing: path) == before)
    }

    @Test func onlyTheOwnSocketIsRemoved() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.file("s")
        let first = try UnixSocket.listen(path: path)
        let made = try FileStatus(withoutFollowing: path)
        // The old one's file is kept under another name, or its number might be given to the new one.
        #expect(rename(path, scratch.file("old")) == 0)
        let second = try UnixSocket.listen(path: path)
        UnixSocket.remove(path, made: made)
        let client = try UnixSocket.connect(path: path)
        UnixSocket.remove(path, made: try FileStatus(withoutFollowing: path))
        #expect(throws: SystemError(code: ENOENT, call: "connect")) { _ = try UnixSocket.connect(path: path) }
        #expect(first.rawValue >= 0 && second.rawValue >= 0 && client.rawValue >= 0)
    }

    @Test func socketPathThatDoesNotFitIsRefused() {
        let path = "/tmp/" + String(repeating: "x", count: 103)
        #expect(throws: SystemError(code: ENAMETOOLONG, call: "bind")) { _ = try UnixSocket.listen(path: path) }
        #expect(throws: SystemError(code: ENAMETOOLONG, call: "connect")) { _ = try UnixSocket.connect(path: path) }
    }
}
