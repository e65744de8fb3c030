import Foundation
import StubControl
import Testing

@Suite("A disk whose file system is full", .serialized)
struct FullDiskTests {
    /// What qemu-io says of one command on the disk.
    private func ask(_ pair: StubPair, _ command: String) throws -> String {
        let log = "io-\(UInt32.random(in: 0...UInt32.max)).log"
        let process = try pair.run("qemu-io", ["-f", "raw", "-t", "none", "-c", command, pair.uri], log: log)
        _ = try pair.waitForExit(process)
        return pair.log(log)
    }

    @Test func writesWithoutRoomFailAndEverythingElseGoesOn() throws {
        let pair = try StubPair()
        defer { pair.stop() }
        try pair.startClient()
        try pair.startServer(diskBytes: 64 << 20, roomBytes: 8 << 20)
        try pair.waitForSession(1)
        #expect(try ask(pair, "write -P 1 0 4M").contains("wrote 4194304/4194304"))
        let refused = try ask(pair, "write -P 2 16M 16M")
        #expect(refused.contains("write failed: Input/output error") || refused.contains("No space left"), "\(refused)")
        #expect(try ask(pair, "read -P 1 0 4M").contains("read 4194304/4194304"), "what was written is still there")
        #expect(try ask(pair, "discard 16M 16M").contains("discard 16777216/16777216"))
        #expect(try ask(pair, "write -P 3 32M 2M").contains("wrote 2097152/2097152"), "there is room again")
        #expect(try ask(pair, "read -P 3 32M 2M").contains("read 2097152/2097152"))
        let status = try pair.status()
        #expect(status.sessionsLost == 0)
        #expect(status.requestsFailed > 0)
        #expect(status.inFlight == 0 && status.held == 0)
        #expect(pair.server?.isRunning == true)
    }
}
