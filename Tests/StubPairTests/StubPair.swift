import Foundation
import LinuxSystem
import StubControl
import Testing

/// A client stub and its server stubs as processes of this machine, in a directory of their own.
///
/// Everything that was started is killed, latest first, when ``stop()`` is called.
final class StubPair {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let directory: URL
    let disk: URL
    private(set) var client: Process?
    private(set) var server: Process?
    private var started: [Process] = []

    init(diskBytes: Int = 64 << 20) throws {
        // Short, because socket paths are.
        directory = URL(filePath: NSTemporaryDirectory()).appending(path: "pair-\(UInt32.random(in: 0...UInt32.max))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        disk = directory.appending(path: "disk")
        _ = FileManager.default.createFile(atPath: disk.path, contents: nil)
        try FileHandle(forWritingTo: disk).truncate(atOffset: UInt64(diskBytes))
    }

    /// Kills what runs, and removes the directory.
    func stop() {
        for process in started.reversed() where process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: directory)
    }

    func path(_ name: String) -> String { directory.appending(path: name).path }
    var uri: String { "nbd+unix:///disk?socket=\(path("nbd.sock"))" }

    // MARK: processes

    /// Beside the test bundle.
    private static let programs: URL = {
        var folder = Bundle.main.bundleURL
        for bundle in Bundle.allBundles where bundle.bundlePath.hasSuffix(".xctest") {
            folder = bundle.bundleURL.deletingLastPathComponent()
        }
        if FileManager.default.isExecutableFile(atPath: folder.appending(path: "drover-client-stub").path) { return folder }
        return URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
    }()

    @discardableResult
    func run(_ program: String, _ arguments: [String], log: String) throws -> Process {
        let process = Process()
        let local = Self.programs.appending(path: program)
        if program.hasPrefix("drover-") {
            process.executableURL = local
            process.arguments = arguments
        } else {
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [program] + arguments
        }
        let file = directory.appending(path: log)
        if !FileManager.default.fileExists(atPath: file.path) { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
        let handle = try FileHandle(forWritingTo: file)
        try handle.seekToEnd()
        process.standardError = handle
        process.standardOutput = handle
        process.standardInput = FileHandle.nullDevice
        try process.run()
        started.append(process)
        return process
    }

    func log(_ name: String) -> String { (try? String(contentsOf: directory.appending(path: name), encoding: .utf8)) ?? "" }

    @discardableResult
    func startClient(_ more: [String] = []) throws -> Process {
        let process = try run(
            "drover-client-stub",
            ["--name", "pair", "--directory", directory.path, "--native-socket", path("n.sock"), "--nbd", path("nbd.sock")] + more,
            log: "client.log")
        client = process
        try waitUntil("the client stub listens") {
            (try? self.status().pid) == process.processIdentifier || !process.isRunning
        }
        return process
    }

    func startServer(disk other: String? = nil) throws {
        server = try run(
            "drover-server-stub", ["--socket", path("n.sock"), "--file", other ?? disk.path, "--buffered"], log: "server.log")
    }

    /// A server stub whose disk of `diskBytes` is sparse, in a file system of its own that holds only `roomBytes`. The file system lives
    /// in the process's own mount namespace, and goes away with it.
    func startServer(diskBytes: Int, roomBytes: Int) throws {
        let place = path("small")
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        let script =
            "mount -t tmpfs -o size=\(roomBytes) tmpfs '\(place)' && truncate -s \(diskBytes) '\(place)/disk'"
            + " && exec '\(Self.programs.appending(path: "drover-server-stub").path)' --socket '\(path("n.sock"))' --file '\(place)/disk' --buffered"
        let namespaces = getuid() == 0 ? ["--mount"] : ["--user", "--map-root-user", "--mount"]
        server = try run("unshare", namespaces + ["sh", "-c", script], log: "server.log")
    }

    /// SIGKILL, and reaped: what the supervisor makes sure of before a new life opens.
    func killServer() {
        guard let server else { return }
        kill(server.processIdentifier, SIGKILL)
        server.waitUntilExit()
    }

    // MARK: waiting

    func waitUntil(_ what: String, seconds: Double = 60, _ condition: () throws -> Bool) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while !(try condition()) {
            guard Date() < end else {
                throw Failure(description: "timed out waiting until \(what)\n\(log("client.log"))\(log("server.log"))")
            }
            usleep(10_000)
        }
    }

    func waitForExit(_ process: Process) throws -> Int32 {
        try waitUntil("process \(process.processIdentifier) exits") { !process.isRunning }
        return process.terminationStatus
    }

    func waitForSession(_ generation: UInt64) throws {
        try waitUntil("session \(generation) is ready") {
            let status = try self.status()
            return status.state == .ready && status.generation == generation
        }
    }

    // MARK: supervisor

    func ask(_ action: StubCommand.Action) throws -> StubReply {
        let supervisor = try SupervisorConnection(path("control.sock"))
        return try supervisor.ask(action)
    }

    func status() throws -> StubStatus {
        guard case .status(let status) = try ask(.status) else { throw Failure(description: "no status") }
        return status
    }
}

/// A supervisor's side of the control socket.
final class SupervisorConnection {
    private let handle: FileHandle
    private var input = Data()
    private var lastID: UInt64 = 0
    private(set) var events: [StubEvent] = []

    init(_ path: String) throws {
        handle = FileHandle(fileDescriptor: try UnixSocket.connect(path: path).release(), closeOnDealloc: true)
    }

    func send(_ line: String) { handle.write(Data((line + "\n").utf8)) }

    func ask(_ action: StubCommand.Action) throws -> StubReply {
        lastID += 1
        handle.write(try JSONEncoder().encode(StubCommand(id: lastID, action: action)) + Data("\n".utf8))
        while let message = try next() {
            switch message {
            case .event(let event): events.append(event)
            case .reply(let id, let reply):
                #expect(id == lastID)
                return reply
            }
        }
        throw StubPair.Failure(description: "the stub closed the control connection")
    }

    /// The next message; `nil` when the stub has closed, or says nothing for 20 s.
    func next() throws -> StubMessage? {
        while true {
            if let end = input.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Data(input[input.startIndex..<end])
                input = Data(input[(end + 1)...])
                return try JSONDecoder().decode(StubMessage.self, from: line)
            }
            var poller = pollfd(fd: handle.fileDescriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&poller, 1, 20_000) == 1 else { return nil }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(handle.fileDescriptor, &bytes, bytes.count)
            if count <= 0 { return nil }
            input.append(contentsOf: bytes[..<count])
        }
    }
}
