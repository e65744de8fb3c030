internal import Glibc
internal import Subprocess
internal import SystemPackage

extension Tools {
    /// Runs a kernel's `make`, giving way to whatever else the machine does, in an environment of its own: neither an outer make's flags nor anybody's
    /// `CFLAGS` get into a kernel. Cancelled, it ends with all that it started.
    ///
    /// - Parameter log: A new file for all that is printed.
    func build(_ arguments: [String], log: String) async throws(ImageError) {
        let make = try path(of: .make)
        let executable = try locate(.nice)
        let descriptor = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileStore.failure("create", log, errno) }
        defer { close(descriptor) }
        let environment: [Environment.Key: String] = [
            "PATH": searchPath, "LC_ALL": "C", "HOME": "/nonexistent",
            // What a kernel says of its own making; the same from everyone at any time.
            "KBUILD_BUILD_TIMESTAMP": "1970-01-01", "KBUILD_BUILD_USER": "drover", "KBUILD_BUILD_HOST": "drover",
            "KBUILD_BUILD_VERSION": "1",
        ]
        var options = PlatformOptions()
        // A session of its own, so that compilers end with the make that started them.
        options.createSession = true
        options.teardownSequence = [.gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(10))]
        let status: TerminationStatus
        do {
            let output = FileDescriptor(rawValue: descriptor)
            status = try await Subprocess.run(
                executable, arguments: Arguments(["-n", "10", make] + arguments), environment: .custom(environment),
                platformOptions: options, output: .fileDescriptor(output, closeAfterSpawningProcess: false),
                error: .fileDescriptor(output, closeAfterSpawningProcess: false)
            ).terminationStatus
        } catch {
            throw Self.failure(.make, error)
        }
        if Task.isCancelled { throw .cancelled }
        if status.isSuccess { return }
        let text = String(decoding: (try? FileStore.read(log)) ?? [], as: UTF8.self)
        if text.contains("No space left on device") { throw .diskFull(path: FileStore.directory(of: log)) }
        throw .programFailed(program: "make", status: "\(status)", detail: Self.complaint(in: text))
    }

    /// What a build said first that looks like the reason: what follows are make's echoes of it.
    static func complaint(in text: String) -> String {
        let lines = text.split(separator: "\n")
        let signs = ["error:", "Error:", "fatal error", "*** ", "undefined reference", "not found"]
        let found = lines.first { line in signs.contains { line.contains($0) } }
        return found.map(String.init) ?? lastLine(text)
    }
}
