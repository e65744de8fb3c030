@testable import ClientStub
import Foundation
import FrontEnds
import LinuxSystem
import Synchronization
import Testing

/// An NBD server on a thread of its own, over disks in memory; stopped and removed by ``stop()``.
final class ServerFixture: Sendable {
    static let diskSize: UInt64 = 64 << 20

    let directory: String
    let path: String
    let state = ServiceState()
    private let stopping = Atomic<Bool>(false)
    private let stopped = DispatchSemaphore(value: 0)

    static func export(_ name: String, size: UInt64 = diskSize, blockSize: UInt32 = 512, readOnly: Bool = false) -> BlockExport {
        BlockExport(
            name: name, size: size, blockSize: blockSize, preferredBlockSize: 4096, readOnly: readOnly, rotational: false,
            maxRequestBytes: 1 << 20, maxDiscardBytes: 4 << 20, maxWriteZeroesBytes: 2 << 20, canFlush: true, canDiscard: true,
            canWriteZeroes: true)
    }

    init(exports: [BlockExport] = [export("nvme0n1")], poolBytes: Int = 16 << 20, limits: NBDLimits = NBDLimits()) throws {
        var template = Array("/tmp/drover-nbd-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        path = directory + "/disk.sock"
        var server: NBDServer<MemoryService>? = try NBDServer<MemoryService>(path: path, limits: limits) { [state] line in
            state.log.withLock { $0.append(line) }
        }
        let started = server.take()!
        let box = Mutex<NBDServer<MemoryService>?>(started)
        let thread = Thread { [self] in
            box.withLock { (waiting: inout sending NBDServer<MemoryService>?) in
                var server = waiting.take()!
                run(&server, exports: exports, poolBytes: poolBytes)
            }
            stopped.signal()
        }
        thread.start()
    }

    private func run(_ server: inout NBDServer<MemoryService>, exports: [BlockExport], poolBytes: Int) {
        do {
            var service = MemoryService(exports: exports, poolBytes: poolBytes, state: state)
            var loop = try EventLoop()
            var known = service.exportsKnown
            var shuttingDown = false
            server.start(loop: &loop, service: &service)
            var turn = 0
            while !server.isFinished {
                if stopping.load(ordering: .relaxed) && !shuttingDown {
                    shuttingDown = true
                    server.shutDown(loop: &loop, service: &service)
                }
                if !known && service.exportsKnown {
                    known = true
                    server.exportsBecameKnown(loop: &loop, service: &service)
                }
                service.work()
                while let completion = service.nextCompletion() {
                    server.requestCompleted(completion, loop: &loop, service: &service)
                }
                while service.takeBuffersAvailable() { server.buffersAvailable(loop: &loop, service: &service) }
                if loop.now >= server.nextDeadline { server.deadlineReached(loop: &loop, service: &service) }
                server.turnEnds(loop: &loop, service: &service)
                while service.takeBuffersAvailable() {
                    server.buffersAvailable(loop: &loop, service: &service)
                    server.turnEnds(loop: &loop, service: &service)
                }
                service.work()
                if service.hasCompletions { continue }
                // Both ways of receiving, in turn.
                turn += 1
                if turn % 2 == 0, server.lookAround(loop: &loop, service: &service) { continue }
                server.sleeps(loop: &loop, service: &service)
                state.clients.store(server.clientCount, ordering: .relaxed)
                // Short naps, so that the test's wishes are seen.
                try loop.wait(until: min(server.nextDeadline, loop.now + 5_000_000))
                while let completion = loop.next() {
                    let tag = EventTag(userData: completion.userData)
                    guard tag.owner == .frontEnd else { continue }
                    server.operationCompleted(
                        tag.value, result: completion.result, flags: completion.flags, loop: &loop, service: &service)
                    service.work()
                }
            }
        } catch {
            Issue.record("the server's loop failed: \(error)")
        }
    }

    /// Ends the server and checks that nothing is left behind.
    func stop() {
        stopping.store(true, ordering: .relaxed)
        state.holds.store(false, ordering: .relaxed)
        let ended = stopped.wait(timeout: .now() + 20)
        #expect(ended == .success, "the server must finish when asked to")
        #expect(state.bytesInUse.load(ordering: .relaxed) == 0, "every buffer must be released")
        #expect(!FileManager.default.fileExists(atPath: path), "the socket must be removed")
        try? FileManager.default.removeItem(atPath: directory)
    }

    func uri(_ export: String = "") -> String { "nbd+unix:///\(export)?socket=\(path)" }

    /// Waits until a condition holds, with a deadline.
    func eventually(_ what: Comment, _ condition: () -> Bool) {
        let deadline = Clock.monotonic() + 60_000_000_000
        while !condition() {
            if Clock.monotonic() > deadline {
                Issue.record(what)
                return
            }
            usleep(2000)
        }
    }

    /// Runs a program to its end, at most `seconds`; its standard output, if it succeeded.
    @discardableResult
    func run(_ arguments: [String], seconds: Int = 120, input: String? = nil, expectedStatus: Int32 = 0) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["-k", "2", String(seconds)] + arguments
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == expectedStatus, "\(arguments.joined(separator: " ")): \(text)")
        return text
    }
}
