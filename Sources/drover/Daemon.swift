import Foundation

/// A program started in a session of its own, so that it outlives the terminal; what it prints goes to a file.
struct Daemon {
    let process: Process
    let log: String
    private let logStart: UInt64

    static func start(_ path: String, arguments: [String], log: String) throws -> Daemon {
        let folder = (log as NSString).deletingLastPathComponent
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw Complaint("Cannot create \(folder): \(error.localizedDescription) Run this as root, or give another --run-dir.")
        }
        // Appended to, so that droverd can cut it when it has grown too long.
        let descriptor = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Complaint("Cannot write \(log): run this as root, or give another --run-dir.") }
        let output = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        let start = try output.seekToEnd()
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/setsid")
        process.arguments = [path] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        return Daemon(process: process, log: log, logStart: start)
    }

    var hasExited: Bool { !process.isRunning }

    /// The last line that it wrote, for a person to read.
    var lastWords: String? {
        guard let file = FileHandle(forReadingAtPath: log), (try? file.seek(toOffset: logStart)) != nil,
            let data = try? file.readToEnd()
        else { return nil }
        let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
        return lines.last.map { $0.hasPrefix("droverd: ") ? String($0.dropFirst("droverd: ".count)) : String($0) }
    }
}
