internal import Glibc
internal import Subprocess
internal import SystemPackage

/// The programs of Debian that building uses.
struct Tools: Sendable {
    /// Directories where programs are looked for, as in `PATH`.
    var searchPath: String

    /// A program and the package that has it, for the person who lacks it.
    struct Program: Sendable {
        var name: String
        var package: String

        static let aptCache = Program(name: "apt-cache", package: "apt")
        static let aptGet = Program(name: "apt-get", package: "apt")
        static let dpkgDeb = Program(name: "dpkg-deb", package: "dpkg")
        static let depmod = Program(name: "depmod", package: "kmod")
        static let sha256sum = Program(name: "sha256sum", package: "coreutils")
        static let xz = Program(name: "xz", package: "xz-utils")
        static let zstd = Program(name: "zstd", package: "zstd")
        static let gzip = Program(name: "gzip", package: "gzip")
        static let lz4 = Program(name: "lz4", package: "lz4")
        static let tar = Program(name: "tar", package: "tar")
        // To build a kernel.
        static let nice = Program(name: "nice", package: "coreutils")
        static let make = Program(name: "make", package: "make")
        static let gcc = Program(name: "gcc", package: "gcc")
        static let linker = Program(name: "ld", package: "binutils")
        static let objcopy = Program(name: "objcopy", package: "binutils")
        static let flex = Program(name: "flex", package: "flex")
        static let bison = Program(name: "bison", package: "bison")
        static let bc = Program(name: "bc", package: "bc")
    }

    struct Outcome: Sendable {
        var status: String
        var succeeded: Bool
        var output: String
        var errors: String
    }

    /// Runs a program and collects what it prints; its failure is for the caller to judge.
    func outcome(
        of program: Program, _ arguments: [String], directory: String? = nil
    ) async throws(ImageError) -> Outcome {
        let executable = try locate(program)
        do {
            let result = try await Subprocess.run(
                executable, arguments: Arguments(arguments), environment: Self.environment(searchPath),
                workingDirectory: directory.map { FilePath($0) }, output: .string(limit: 4 << 20),
                error: .string(limit: 1 << 20))
            return Outcome(
                status: "\(result.terminationStatus)", succeeded: result.terminationStatus.isSuccess,
                output: result.standardOutput, errors: result.standardError)
        } catch {
            throw Self.failure(program, error)
        }
    }

    /// Runs a program that has to succeed.
    @discardableResult
    func output(
        of program: Program, _ arguments: [String], directory: String? = nil, writing place: String? = nil
    ) async throws(ImageError) -> String {
        let outcome = try await outcome(of: program, arguments, directory: directory)
        try Self.check(program, outcome.succeeded, outcome.status, outcome.errors, place ?? directory ?? "the output of \(program.name)")
        return outcome.output
    }

    /// Runs a program that has to succeed, its standard output going to a new file.
    func run(_ program: Program, _ arguments: [String], outputTo path: String) async throws(ImageError) {
        let executable = try locate(program)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileStore.failure("create", path, errno) }
        defer { close(descriptor) }
        let status: TerminationStatus
        let errors: String
        do {
            let result = try await Subprocess.run(
                executable, arguments: Arguments(arguments), environment: Self.environment(searchPath),
                output: .fileDescriptor(FileDescriptor(rawValue: descriptor), closeAfterSpawningProcess: false),
                error: .string(limit: 1 << 20))
            status = result.terminationStatus
            errors = result.standardError
        } catch {
            throw Self.failure(program, error)
        }
        try Self.check(program, status.isSuccess, "\(status)", errors, path)
    }

    func locate(_ program: Program) throws(ImageError) -> Executable { .path(FilePath(try path(of: program))) }

    /// - Throws: ``ImageError/programMissing(program:package:)``
    func path(of program: Program) throws(ImageError) -> String {
        for directory in searchPath.split(separator: ":") {
            let path = "\(directory)/\(program.name)"
            if access(path, X_OK) == 0 { return path }
        }
        throw .programMissing(program: program.name, package: program.package)
    }

    /// Messages are read, so they have to be in English.
    private static func environment(_ searchPath: String) -> Environment {
        .inherit.updating(["LC_ALL": "C.UTF-8", "PATH": searchPath, "DEBIAN_FRONTEND": "noninteractive"])
    }

    private static func check(
        _ program: Program, _ succeeded: Bool, _ status: String, _ errors: String, _ place: String
    ) throws(ImageError) {
        if Task.isCancelled { throw .cancelled }
        if succeeded { return }
        if errors.contains("No space left on device") || errors.contains("Disk quota exceeded") {
            throw .diskFull(path: place)
        }
        throw .programFailed(program: program.name, status: status, detail: Self.lastLine(errors))
    }

    static func failure(_ program: Program, _ error: any Error) -> ImageError {
        if Task.isCancelled || error is CancellationError { return .cancelled }
        let detail = (error as? SubprocessError)?.description ?? "\(error)"
        return .programFailed(program: program.name, status: "not run", detail: detail)
    }

    /// What a program said last that isn't empty, without apt's `E: `.
    static func lastLine(_ text: String) -> String {
        guard let line = text.split(separator: "\n").last(where: { !$0.allSatisfy(\.isWhitespace) }) else { return "" }
        return String(line.hasPrefix("E: ") ? line.dropFirst(3) : line)
    }

    /// SHA-256 of files, in hexadecimal digits, in the order given.
    func digests(of paths: [String]) async throws(ImageError) -> [String] {
        if paths.isEmpty { return [] }
        let printed = try await output(of: .sha256sum, ["--zero", "--"] + paths)
        let digests = printed.split(separator: "\0").map { String($0.prefix(64)) }
        guard digests.count == paths.count, digests.allSatisfy({ $0.utf8.count == 64 }) else {
            throw .programFailed(program: "sha256sum", status: "exit 0", detail: "it printed something else than digests")
        }
        return digests
    }

    /// SHA-256 of bytes.
    func digest(of bytes: [UInt8]) async throws(ImageError) -> String {
        let executable = try locate(.sha256sum)
        do {
            let result = try await Subprocess.run(
                executable, environment: Self.environment(searchPath), input: .array(bytes), output: .string(limit: 4096),
                error: .discarded)
            if result.terminationStatus.isSuccess, result.standardOutput.utf8.count >= 64 {
                return String(result.standardOutput.prefix(64))
            }
        } catch {
            throw Self.failure(.sha256sum, error)
        }
        throw .programFailed(program: "sha256sum", status: "exit 0", detail: "it printed something else than digests")
    }

    func file(_ path: String) async throws(ImageError) -> ImageFile {
        let digest = try await digests(of: [path])[0]
        guard let size = FileStore.size(path) else { throw FileStore.failure("read", path, ENOENT) }
        return ImageFile(sha256: digest, size: size)
    }
}
