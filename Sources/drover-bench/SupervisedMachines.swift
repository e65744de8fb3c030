import Foundation

/// A supervisor of its own with some DD/OSs, driven through the `drover` command.
final class SupervisedMachines {
    let names: [String]
    private let drover: String
    private let place: WorkDirectory
    private var supervisor: [String] { ["--run-dir", "\(place.path)/run"] }

    /// Emulated NVMe controllers, with a file each, all started.
    ///
    /// - Parameters:
    ///   - programs: where `drover` and `droverd` are.
    ///   - images: the recipe of each.
    ///   - extra: further keys of each DD/OS, in YAML, a line each.
    convenience init(programs: String, images: [String], extra: [String] = []) throws {
        let names = images.indices.map { "bench\($0)" }
        let imageOf = Dictionary(uniqueKeysWithValues: zip(names, images))
        try self.init(programs: programs, names: names) { name, folder in
            [
                "class: block", "device: { emulated: nvme, backing: { file: \(folder)/\(name).img, size: 256MiB } }",
                "image: \(imageOf[name] ?? "")", "frontends: [ nbd ]",
            ] + extra
        }
    }

    /// - Parameter keys: of a DD/OS of this name, in YAML, a line each; with a folder for its files.
    init(programs: String, names: [String], keys: (_ name: String, _ folder: String) -> [String]) throws {
        drover = "\(programs)/drover"
        guard FileManager.default.isExecutableFile(atPath: drover), FileManager.default.isExecutableFile(atPath: "\(programs)/droverd")
        else {
            throw BenchFailure(text: "drover and droverd are not in \(programs): run make build, or leave this part out with --no-machine.")
        }
        place = try WorkDirectory(in: "/tmp")
        self.names = names
        let text = "ddos:\n" + names.map { name in "  \(name):\n" + keys(name, place.path).map { "    \($0)\n" }.joined() }.joined()
        let file = "\(place.path)/bench.yaml"
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        do {
            // The first time an image is built, which for a lean one is a kernel to compile.
            try run("up", "-f", file, seconds: 2400)
        } catch {
            remove()
            throw error
        }
    }

    func remove() {
        _ = try? run("down", seconds: 60)
        place.remove()
    }

    /// Runs `drover`; its standard output, if it succeeded. `isQuiet`: a failure is to be expected, and its words are not for the person.
    @discardableResult
    func run(_ arguments: String..., seconds: Int = 120, isQuiet: Bool = false) throws -> String {
        try Self.run([drover] + arguments + supervisor, seconds: seconds, isQuiet: isQuiet)
    }

    func inspect(_ name: String) throws -> Inspection {
        let text = try run("inspect", name, "--json")
        guard let inspection = try? JSONDecoder().decode(Inspection.self, from: Data(text.utf8)) else {
            throw BenchFailure(text: "drover inspect cannot be read: \(text.prefix(300))")
        }
        return inspection
    }

    func socket(_ name: String) -> String { "\(place.path)/run/nbd/\(name).sock" }

    /// Runs a program to its end; its standard output, if it succeeded.
    @discardableResult
    static func run(_ arguments: [String], seconds: Int, isQuiet: Bool = false) throws -> String {
        let (process, output) = try start(arguments, seconds: seconds, isQuiet: isQuiet)
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchFailure(text: "'\(arguments.joined(separator: " "))' failed with status \(process.terminationStatus)")
        }
        return text
    }

    /// Its progress and its complaints are for the person.
    static func start(_ arguments: [String], seconds: Int, isQuiet: Bool = false) throws -> (Process, Pipe) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["-k", "5", String(seconds)] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardInput = FileHandle.nullDevice
        if isQuiet { process.standardError = FileHandle.nullDevice }
        try Interruption.start(process)
        return (process, output)
    }
}
