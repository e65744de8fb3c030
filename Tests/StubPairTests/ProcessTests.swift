import Foundation
import LinuxSystem
import StubControl
import Testing
import VirtioMessage

@Suite("The client stub as a process", .serialized)
struct ProcessTests {
    @Test func aSecondStubIsRefusedAndADeadOneReplaced() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        let first = try pair.startClient()
        let second = try pair.run(
            "drover-client-stub", ["--name", "pair", "--directory", pair.directory.path, "--native-socket", pair.path("n.sock")],
            log: "second.log")
        #expect(try pair.waitForExit(second) == 1)
        #expect(pair.log("second.log").contains("another client stub runs in \(pair.directory.path)"))
        #expect(try pair.status().state == .closed, "the first is as it was")

        kill(first.processIdentifier, SIGKILL)
        first.waitUntilExit()
        try pair.startClient()
        try pair.startServer()
        try pair.waitForSession(1)
    }

    @Test func aFileInTheWayOfTheNBDSocketIsLeftAloneAndNamed() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        let disk = pair.path("precious.img")
        try Data("data".utf8).write(to: URL(filePath: disk))
        let stub = try pair.run(
            "drover-client-stub",
            ["--name", "pair", "--directory", pair.directory.path, "--native-socket", pair.path("n.sock"), "--nbd", disk],
            log: "refused.log")
        #expect(try pair.waitForExit(stub) == 1)
        #expect(pair.log("refused.log").contains("NBD cannot be offered at \(disk): something that is no socket is there"))
        #expect(try Data(contentsOf: URL(filePath: disk)) == Data("data".utf8))
    }

    @Test func terminationIsGracefulAndUnlinksItsSockets() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        let client = try pair.startClient()
        try pair.startServer()
        try pair.waitForSession(1)
        kill(client.processIdentifier, SIGTERM)
        #expect(try pair.waitForExit(client) == 0)
        for socket in ["control.sock", "n.sock", "nbd.sock"] {
            #expect(!FileManager.default.fileExists(atPath: pair.path(socket)), "\(socket) is left behind")
        }
    }

    @Test func supervisorsComeAndGo() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        for _ in 0..<40 { _ = try SupervisorConnection(pair.path("control.sock")) }
        let rude = try SupervisorConnection(pair.path("control.sock"))
        rude.send("this is no command")
        #expect(try rude.next() == nil, "it is cut off")
        let one = try SupervisorConnection(pair.path("control.sock"))
        let two = try SupervisorConnection(pair.path("control.sock"))
        #expect(try one.ask(.inject(.hang)) == .refused("there is no session to inject a fault into"))
        try pair.startServer()
        for supervisor in [one, two] {
            var ready = false
            while !ready, let message = try supervisor.next() {
                if case .event(.sessionReady(1, let disks, 0)) = message {
                    #expect(disks.map(\.name) == ["disk"])
                    ready = true
                }
            }
            #expect(ready)
        }
        #expect(try two.ask(.shutdown) == .done)
    }

    @Test func peersThatSpeakNonsenseEndTheirSessionAndNotTheStub() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        var generator = SystemRandomNumberGenerator()
        // Messages of wrong sizes, unknown messages, a pool without a file, pure noise, and nothing at all.
        var lies: [[UInt8]] = [
            [0x02, 0xC0, 0, 0, 0, 0, 7, 0], [0x02, 0xC0, 0, 0, 0, 0, 0xFF, 0xFF], [0x02, 0xC0, 0, 0, 0, 0, 8, 0],
            [0x00, 0x42, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0], [0x01, 0x02, 0, 0, 9, 0, 8, 0], [0x02, 0x77, 0, 0, 0, 0, 8, 0], [],
        ]
        var outbox = MessageOutbox()
        try outbox.pool(pageSize: 4096, isFile: true, extents: [PoolExtent(address: 0, length: 1 << 20)].span)
        lies.append(Array(outbox.pending))
        for _ in 0..<30 { lies.append((0..<200).map { _ in UInt8.random(in: 0...255, using: &generator) }) }
        for (number, lie) in lies.enumerated() {
            let before = try pair.status().sessionsLost
            let socket = try UnixSocket.connect(path: pair.path("n.sock"))
            let descriptor = socket.rawValue
            _ = lie.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, 0x4000) }  // MSG_NOSIGNAL
            socket.shutdown()
            try pair.waitUntil("lie \(number) is noticed") { try pair.status().sessionsLost > before }
        }
        try pair.startServer()
        try pair.waitUntil("an honest server stub is served") { try pair.status().state == .ready }
    }

    @Test func aFileThatCanShrinkIsNoPool() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        var outbox = MessageOutbox()
        try outbox.pool(pageSize: 4096, isFile: true, extents: [PoolExtent(address: 0, length: 1 << 20)].span)
        let file = try OwnedDescriptor(path: pair.disk.path, .readWrite)
        let socket = try UnixSocket.connect(path: pair.path("n.sock"))
        _ = try socket.send(outbox.pending, descriptors: [file.rawValue])
        try pair.waitUntil("the file is refused") { pair.log("client.log").contains("no memfd that is sealed against shrinking") }
        #expect(try pair.status().sessionsLost == 1)
    }
}
