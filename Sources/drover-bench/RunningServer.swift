import Foundation

/// The NBD servers that are compared.
enum ServerKind: String, CaseIterable {
    case drover
    case nbdkit
    case qemu = "qemu-nbd"
}

/// Where things are.
struct Surroundings {
    /// For sockets and files.
    let directory: String
    /// The stubs.
    let programs: String
    let megabytes: Int
}

/// The processes of one server, and its file, full of data, in the page cache.
final class RunningServer {
    let kind: ServerKind
    let socket: String
    private var processes: [Process] = []

    init(_ kind: ServerKind, _ surroundings: Surroundings) throws {
        self.kind = kind
        let directory = "\(surroundings.directory)/\(kind.rawValue)"
        socket = "\(directory)/nbd.sock"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let file = "\(directory)/disk.raw"
        try Self.fill(file, megabytes: surroundings.megabytes)
        let log = "\(directory)/log"
        do {
            switch kind {
            case .drover:
                let stubSocket = "\(directory)/stub.sock"
                try start(
                    "\(surroundings.programs)/drover-client-stub",
                    ["--name", "bench", "--directory", directory, "--cid", "3", "--nbd", socket, "--native-socket", stubSocket], log)
                try awaitSocket(stubSocket, log)
                try start("\(surroundings.programs)/drover-server-stub", ["--socket", stubSocket, "--file", file, "--buffered"], log)
            case .nbdkit:
                try start("nbdkit", ["--foreground", "--unix", socket, "file", file], log)
            case .qemu:
                // Writeback is the page cache, as with the others.
                try start(
                    "qemu-nbd",
                    [
                        "--format=raw", "--cache=writeback", "--aio=io_uring", "--persistent", "--shared=0", "--export-name=",
                        "--socket=\(socket)",
                        file,
                    ], log)
            }
            try awaitSocket(socket, log)
        } catch {
            stop()
            throw error
        }
    }

    /// User and system time of all serving processes so far, ended threads included, in seconds.
    func cpuSeconds() -> Double {
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        var total = 0.0
        for process in processes {
            guard let text = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8),
                let name = text.lastIndex(of: ")")
            else { continue }
            // proc(5): the fields after the name, which may hold anything, start with the third.
            let fields = text[text.index(after: name)...].split(separator: " ")
            guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { continue }
            total += (user + system) / ticks
        }
        return total
    }

    func stop() {
        for process in processes.reversed() where process.isRunning {
            process.terminate()
            let deadline = Date().addingTimeInterval(3)
            while process.isRunning && Date() < deadline { usleep(10_000) }
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }
        processes = []
    }

    private func start(_ program: String, _ arguments: [String], _ log: String) throws {
        let process = Process()
        guard let path = Self.find(program) else {
            throw BenchFailure(text: "\(program) is not installed (apt-get install nbdkit qemu-utils, or run make build for Drover's own).")
        }
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        if !FileManager.default.fileExists(atPath: log) { _ = FileManager.default.createFile(atPath: log, contents: nil) }
        let output = FileHandle(forWritingAtPath: log)
        _ = try? output?.seekToEnd()
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try Interruption.start(process)
        processes.append(process)
    }

    private static func find(_ program: String) -> String? {
        let places = program.contains("/") ? [program] : ["/usr/bin/\(program)", "/usr/sbin/\(program)", "/usr/local/bin/\(program)"]
        return places.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    private func awaitSocket(_ path: String, _ log: String) throws {
        let deadline = Date().addingTimeInterval(10)
        while !FileManager.default.fileExists(atPath: path) {
            guard Date() < deadline, processes.allSatisfy(\.isRunning) else {
                let said = (try? String(contentsOfFile: log, encoding: .utf8))?.suffix(500) ?? ""
                throw BenchFailure(text: "\(kind.rawValue) did not come up. It said:\n\(said)")
            }
            usleep(10_000)
        }
    }

    /// Data, not holes: reading a hole is cheaper than reading.
    private static func fill(_ path: String, megabytes: Int) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path) else {
            throw BenchFailure(text: "cannot write \(path)")
        }
        var seed: UInt64 = 0x9e37_79b9_7f4a_7c15
        let words = (0..<131072).map { _ in
            seed ^= seed << 13
            seed ^= seed >> 7
            seed ^= seed << 17
            return seed
        }
        let megabyte = words.withUnsafeBytes { Data($0) }
        do {
            for _ in 0..<megabytes { try file.write(contentsOf: megabyte) }
            try file.close()
        } catch {
            throw BenchFailure(text: "cannot fill \(path) with \(megabytes) MiB: is there room?")
        }
    }
}
