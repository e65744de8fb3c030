import ControlModel
import Foundation
import Logging
import Testing

@testable import Supervision

@Suite("Event log")
struct EventLogTests {
    private func path() -> String { NSTemporaryDirectory() + "drover-events-\(UUID().uuidString.prefix(8)).jsonl" }
    private var silent: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    private func collect(_ log: EventLog, from: UInt64 = 1) async throws -> [UInt64] {
        var numbers: [UInt64] = []
        for try await event in log.events(from: from, follow: false) { numbers.append(event.sequence) }
        return numbers
    }

    @Test func numbersGoOnAfterARestart() async throws {
        let path = path()
        defer { unlink(path) }
        let first = EventLog(path: path, logger: silent)
        for _ in 0..<3 { first.append(.warning, "x", ddos: "d") }
        let second = EventLog(path: path, logger: silent)
        second.append(.warning, "y")
        #expect(try await collect(second) == [1, 2, 3, 4])
        #expect(try await collect(second, from: 3) == [3, 4])
    }

    @Test func aTornLastLineCostsThatLineOnly() async throws {
        let path = path()
        defer { unlink(path) }
        let first = EventLog(path: path, logger: silent)
        for _ in 0..<2 { first.append(.warning, "x") }
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data("{\"sequence\":3,\"ti".utf8))
        let second = EventLog(path: path, logger: silent)
        second.append(.warning, "y")
        let third = EventLog(path: path, logger: silent)
        #expect(try await collect(third) == [1, 2, 3])
    }

    @Test func theFileIsSetAsideWhenItIsLarge() throws {
        let path = path()
        defer {
            unlink(path)
            unlink(path + ".1")
        }
        let log = EventLog(path: path, fileLimit: 2000, logger: silent)
        for _ in 0..<100 { log.append(.warning, String(repeating: "x", count: 50)) }
        for file in [path, path + ".1"] {
            let size = try #require(try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
            #expect(size <= 2000)
        }
        #expect(EventLog(path: path, logger: silent).lastSequence == 100)
    }

    @Test func memoryIsBounded() async throws {
        let path = path()
        defer { unlink(path) }
        let log = EventLog(path: path, capacity: 10, logger: silent)
        for _ in 0..<1000 { log.append(.warning, "x") }
        let numbers = try await collect(log)
        #expect(numbers.count < 10 + 257)
        #expect(numbers.last == 1000)
    }

    @Test func aFollowerGetsWhatComesAndEndsWithTheLog() async throws {
        let path = path()
        defer { unlink(path) }
        let log = EventLog(path: path, logger: silent)
        log.append(.warning, "1")
        let stream = log.events(from: 1, follow: true)
        log.append(.warning, "2")
        log.finish()
        var messages: [String] = []
        for try await event in stream { messages.append(event.message) }
        #expect(messages == ["1", "2"])
    }
}
