import Foundation
import Testing

@testable import Supervision

@Suite("Log limits")
struct LogLimitsTests {
    @Test func aGuestThatNeverStopsPrintingDoesNotFillTheDisk() async throws {
        let path = NSTemporaryDirectory() + "drover-log-\(UUID().uuidString.prefix(8))"
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let keeper = Task { await LogLimits(bytes: 64 << 10, interval: .milliseconds(5)).keep(["/no/such/file", path]) }
        // Appended to by a process of its own, as a VMM does.
        let guest = Process()
        guest.executableURL = URL(filePath: "/bin/sh")
        guest.arguments = [
            "-c",
            "for i in $(seq 40); do head -c 65536 /dev/zero | tr '\\0' 'x' >> '\(path)'; sleep 0.02; done; echo the last line >> '\(path)'",
        ]
        try guest.run()
        while guest.isRunning { try await Task.sleep(for: .milliseconds(10)) }
        let deadline = ContinuousClock.now + .seconds(60)
        func size() throws -> Int { try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? -1 }
        while try size() > 64 << 10, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try size() <= 64 << 10)
        #expect(try String(contentsOfFile: path, encoding: .utf8).hasSuffix("the last line\n"))
        keeper.cancel()
        await keeper.value
    }

    @Test func everythingThatADDOSCanMakeGrowIsKeptShort() {
        let logs = RunDirectory(path: "/r").logs(of: ["a"])
        for file in ["/r/ddos/a/console.log", "/r/ddos/a/stub.log", "/r/libvirt/log/qemu/a.log", "/r/libvirt/libvirt.log"] {
            #expect(logs.contains(file))
        }
    }
}
