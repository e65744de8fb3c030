import Foundation
import Glibc

/// A program that a test has started. What it prints goes to files, so that it never waits for a reader.
final class RunningCommand: Sendable {
    struct Output: Sendable {
        var status: Int32
        var out: String
        var error: String
    }

    let name: String
    private let process: Process
    private let input: Pipe?
    private let outPath: String
    private let errorPath: String

    /// - Parameters:
    ///   - directory: Where it works and where its output goes.
    ///   - takesInput: Its standard input is what ``send(_:)`` is given; otherwise `/dev/null`.
    init(_ path: String, _ arguments: [String], in directory: String, takesInput: Bool = false) throws {
        name = ([(path as NSString).lastPathComponent] + arguments).joined(separator: " ")
        let stem = "\(directory)/\((path as NSString).lastPathComponent)-\(UUID().uuidString.prefix(8))"
        outPath = stem + ".out"
        errorPath = stem + ".err"
        for path in [outPath, errorPath] {
            guard FileManager.default.createFile(atPath: path, contents: nil) else { throw Failure("cannot write \(path)") }
        }
        input = takesInput ? Pipe() : nil
        process = Process()
        process.executableURL = URL(filePath: path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: directory)
        process.standardInput = input ?? FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: outPath)
        process.standardError = FileHandle(forWritingAtPath: errorPath)
        try process.run()
    }

    var isRunning: Bool { process.isRunning }
    var pid: Int32 { process.processIdentifier }
    var outputSoFar: String { Self.read(outPath) }
    var errorSoFar: String { Self.read(errorPath) }

    func send(_ line: String) throws {
        try input?.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Ends its standard input, and waits for its end. After `limit` it is killed, and that is a failure.
    func finish(within limit: Duration) async throws -> Output {
        try input?.fileHandleForWriting.close()
        let deadline = ContinuousClock.now + limit
        while process.isRunning {
            guard ContinuousClock.now < deadline else {
                kill()
                throw Failure("'\(name)' did not end within \(limit); it printed: \(outputSoFar.suffix(1000)) \(errorSoFar.suffix(1000))")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        return Output(status: process.terminationStatus, out: outputSoFar, error: errorSoFar)
    }

    func kill() {
        if process.isRunning { _ = Glibc.kill(process.processIdentifier, SIGKILL) }
    }

    private static func read(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}
