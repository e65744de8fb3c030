import CLinux
import Foundation
import LinuxSystem
import ServerStub
import VirtioMessage

/// A server stub on a thread of its own, with files as disks, and the client's end of its connection.
///
/// Ends with the fixture: the connection closes, the server notices, the thread is waited for, the files go.
final class ServerFixture {
    struct Disk {
        var name = "disk"
        var bytes: [UInt8]
        var isReadOnly = false
    }

    let client: OwnedDescriptor
    let directory: String
    private let thread: Thread
    private let outcome = Outcome()

    init(_ disks: [Disk], queueCount: Int = 2, poolMegabytes: Int = 4, pollCap: UInt64 = 20_000) throws {
        var template = Array((NSTemporaryDirectory() + "/drover-server-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        for disk in disks {
            try Data(disk.bytes).write(to: URL(fileURLWithPath: directory + "/" + disk.name))
        }
        let (near, far) = try UnixSocket.pair().split { (near, far) -> Ends in Ends(near: near.release(), far: far.release()) }.both
        client = OwnedDescriptor(adopting: near)
        let (outcome, directory) = (self.outcome, self.directory)
        thread = Thread {
            let result = Self.serve(
                OwnedDescriptor(adopting: far), disks, directory, poolMegabytes,
                StubServer.Options(pollCap: pollCap, queueCount: queueCount))
            outcome.set(result)
        }
        thread.start()
    }

    deinit {
        client.shutdown()
        _ = end()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// How serving ended, once it has; nil if it has not within ten seconds.
    func end() -> Result<StubServer.End, SystemError>? { outcome.wait() }

    /// What is in a disk's file now.
    func contents(_ name: String = "disk") throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name)))
    }

    private struct Ends {
        let near: Int32
        let far: Int32
        var both: (Int32, Int32) { (near, far) }
    }

    private static func serve(
        _ socket: consuming OwnedDescriptor, _ disks: [Disk], _ directory: String, _ megabytes: Int, _ options: StubServer.Options
    ) -> Result<StubServer.End, SystemError> {
        do throws(SystemError) {
            let pool = try ServerPool.native(byteCount: megabytes << 20)
            let log = StubLog(output: try OwnedDescriptor(path: "/dev/null", .writeOnly), sinceBoot: false)
            var server = try StubServer(
                socket: socket, pool: pool, diskCount: disks.count, log: log, options: options
            ) { number in
                do throws(SystemError) {
                    return try ServedDisk(
                        path: directory + "/" + disks[number].name, name: disks[number].name, serial: "S-" + disks[number].name,
                        options: .init(isReadOnly: disks[number].isReadOnly, isBuffered: true))
                } catch {
                    fatalError("a file of the test's own does not open: \(error)")
                }
            }
            try server.announce()
            return .success(try server.serve())
        } catch {
            return .failure(error)
        }
    }

    /// A result that comes from another thread.
    private final class Outcome: @unchecked Sendable {
        private let condition = NSCondition()
        private var result: Result<StubServer.End, SystemError>?

        func set(_ result: Result<StubServer.End, SystemError>) {
            condition.withLock {
                self.result = result
                condition.broadcast()
            }
        }

        func wait() -> Result<StubServer.End, SystemError>? {
            let deadline = Date(timeIntervalSinceNow: 60)
            return condition.withLock {
                while result == nil, condition.wait(until: deadline) {}
                return result
            }
        }
    }
}
