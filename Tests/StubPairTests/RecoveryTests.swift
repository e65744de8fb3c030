import Foundation
import StubControl
import Testing

@Suite("Client and server stub as two processes", .serialized)
struct RecoveryTests {
    private func fio(_ pair: StubPair, seconds: Int) throws -> Process {
        let job = """
            [verified]
            ioengine=nbd
            uri=\(pair.uri)
            rw=randrw
            bs=4k
            iodepth=32
            size=32M
            verify=crc32c
            verify_fatal=1
            verify_state_save=0
            verify_backlog=512
            time_based
            runtime=\(seconds)
            """
        try job.write(toFile: pair.path("job.fio"), atomically: true, encoding: .utf8)
        return try pair.run("fio", [pair.path("job.fio")], log: "fio.log")
    }

    @Test func clientsSeeTimeAndNoErrorWhenTheServerStubIsKilledUnderLoad() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        try pair.startServer()
        try pair.waitForSession(1)
        let load = try fio(pair, seconds: 5)
        var replayed: UInt64 = 0
        for life in 1...4 as ClosedRange<UInt64> {
            let before = try pair.status().requestsCompleted
            try pair.waitUntil("life \(life) serves requests") { try pair.status().requestsCompleted > before + 200 }
            pair.killServer()
            try pair.startServer()
            try pair.waitForSession(life + 1)
            replayed = try pair.status().requestsReplayed
        }
        #expect(try pair.waitForExit(load) == 0, "\(pair.log("fio.log"))")
        let status = try pair.status()
        #expect(status.sessionsLost == 4)
        #expect(status.requestsFailed == 0)
        #expect(replayed > 0, "four kills under a queue depth of 32 leave something in flight")
        #expect(status.inFlight == 0 && status.held == 0)
    }

    @Test func aCopyThroughTwoLivesIsTheSame() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        let source = pair.path("source")
        var bytes = Data(count: 48 << 20)
        bytes.withUnsafeMutableBytes { room in
            for index in stride(from: 0, to: room.count, by: 8) {
                room.storeBytes(of: UInt64(index) &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(index) >> 7, toByteOffset: index, as: UInt64.self)
            }
        }
        try bytes.write(to: URL(filePath: source))
        try pair.startClient()
        try pair.startServer()
        try pair.waitForSession(1)
        let copy = try pair.run("nbdcopy", ["--flush", source, pair.uri], log: "copy.log")
        try pair.waitUntil("the copy is under way") { try pair.status().bytesWritten > 1 << 20 || !copy.isRunning }
        pair.killServer()
        usleep(200_000)
        try pair.startServer()
        #expect(try pair.waitForExit(copy) == 0, "\(pair.log("copy.log"))")
        #expect(try Data(contentsOf: pair.disk).prefix(bytes.count) == bytes)
    }

    @Test func aServerStubThatHangsIsNoticedAndReplaced() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient(["--ping-timeout", "0.5"])
        try pair.startServer()
        try pair.waitForSession(1)
        let supervisor = try SupervisorConnection(pair.path("control.sock"))
        #expect(try supervisor.ask(.inject(.hang)) == .done)
        var cause: SessionLossCause?
        while cause == nil, let message = try supervisor.next() {
            if case .event(.sessionLost(1, let why, _)) = message { cause = why }
        }
        #expect(cause == .pingTimeout)
        pair.killServer()
        try pair.startServer()
        try pair.waitForSession(2)
        let load = try fio(pair, seconds: 1)
        #expect(try pair.waitForExit(load) == 0, "\(pair.log("fio.log"))")
    }

    @Test func anotherDiskOfTheSameNameAndSizeIsRefused() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        try pair.startServer()
        try pair.waitForSession(1)
        pair.killServer()
        // Its file is another one.
        try FileManager.default.createDirectory(atPath: pair.path("other"), withIntermediateDirectories: true)
        let other = pair.path("other/disk")
        try FileManager.default.copyItem(atPath: pair.disk.path, toPath: other)
        try pair.startServer(disk: other)
        try pair.waitUntil("the other disk is refused") {
            pair.log("client.log").contains("disk is another disk: it has the serial number")
        }
        #expect(try pair.status().state != .ready)
        pair.killServer()
        try pair.startServer()
        try pair.waitUntil("the disk is back") { try pair.status().state == .ready }
    }

    @Test func requestsWaitForTheFirstLifeToo() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        let info = try pair.run("nbdinfo", ["--size", pair.uri], log: "info.log")
        usleep(300_000)
        #expect(info.isRunning, "nothing is known of the disks yet, and the client waits")
        try pair.startServer()
        #expect(try pair.waitForExit(info) == 0)
        #expect(pair.log("info.log").contains("\(64 << 20)"))
    }

    @Test func requestsFailAfterTheLimitIfThatIsThePolicy() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient(["--while-down", "fail", "--hold-limit", "0.3"])
        try pair.startServer()
        try pair.waitForSession(1)
        pair.killServer()
        try pair.waitUntil("the loss is noticed") { try pair.status().sessionsLost == 1 }
        let copy = try pair.run("nbdcopy", [pair.uri, "null:"], log: "copy.log")
        #expect(try pair.waitForExit(copy) != 0)
    }
}
