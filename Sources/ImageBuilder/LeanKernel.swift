internal import Foundation

/// A kernel built for a purpose: `kernels/KEY/` in the cache with `vmlinux`, `config` and `release`.
///
/// The key is the hash of the source and of what is asked of the configuration, so every device that needs the same fragments shares one.
struct LeanKernel: Sendable {
    var key: String
    var directory: String
    /// `uname -r`
    var release: String
    /// What built it, for people: `gcc (Debian 12.2.0-14+deb12u1) 12.2.0`.
    var compiler: String

    var vmlinux: String { "\(directory)/vmlinux" }
    /// The whole final configuration.
    var configuration: String { "\(directory)/config" }

    /// The kernel, if it is there and whole. It is renamed into place when complete, so what is there is whole.
    init?(key: String, kernels: String) {
        let directory = "\(kernels)/\(key)"
        guard let release = try? FileStore.read("\(directory)/release"), let compiler = try? FileStore.read("\(directory)/compiler") else {
            return nil
        }
        self.key = key
        self.directory = directory
        self.release = String(decoding: release, as: UTF8.self)
        self.compiler = String(decoding: compiler, as: UTF8.self)
    }

    private struct Key: Encodable {
        /// To be raised whenever building changes what comes out of the same source and configuration.
        var version = 1
        var source: String
        var configuration: String
    }

    static func key(source: KernelPackage, configuration: KernelConfiguration, tools: Tools) async throws(ImageError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(Key(source: source.sha256, configuration: configuration.text)) else {
            throw .damagedCache(path: "the kernel's inputs", problem: "they can't be written as JSON")
        }
        return try await tools.digest(of: Array(data))
    }
}

/// One run of a kernel's own build.
struct KernelBuild: Sendable {
    var source: KernelSource
    var configuration: KernelConfiguration
    /// Where objects are: one place for all configurations of one source, because kbuild compiles anew only what an option changes.
    var objects: String
    var tools: Tools
    var progress: @Sendable (ImageProgress) -> Void

    /// There while a build runs. If it is there before one, the last was killed, perhaps in the middle of writing an object.
    private var mark: String { "\(objects)/.drover-unfinished" }

    /// Configures, checks, compiles; the result is put into `kernels/KEY/`.
    ///
    /// - Parameter staging: A directory on the same file system; the caller removes it.
    func run(key: String, kernels: String, staging: String) async throws(ImageError) -> LeanKernel {
        try checkPrerequisites()
        let compiler = try await tools.output(of: .gcc, ["--version"]).split(separator: "\n").first.map(String.init) ?? "gcc"
        if FileStore.exists(mark) { FileStore.remove(objects) }
        try FileStore.makeDirectory(objects)
        try FileStore.write([], to: mark)

        progress(.configuring(options: configuration.names.count))
        let wanted = "\(objects)/drover.config"
        try FileStore.write(Array(configuration.text.utf8), to: wanted)
        try await make(["KCONFIG_ALLCONFIG=\(wanted)", "allnoconfig"], log: "\(staging)/configure.log")
        let settled = try FileStore.read("\(objects)/.config")
        let unmet = configuration.unmet(in: KernelConfiguration(final: String(decoding: settled, as: UTF8.self)))
        guard unmet.isEmpty else {
            FileStore.remove(mark)
            throw .optionsNotSet(package: source.package.name, options: unmet)
        }

        try await compile(log: "\(staging)/compile.log")
        let staged = "\(staging)/lean"
        try FileStore.makeDirectory(staged)
        try await tools.output(
            of: .objcopy, ["--strip-all", "--remove-section=.comment", "\(objects)/vmlinux", "\(staged)/vmlinux"], writing: staged)
        guard let format = try ExecutableFormat(untrustedFile: "\(staged)/vmlinux"), format.hasPVHEntry else {
            throw .badKernel(package: source.package.name, problem: "what was built from it has no PVH entry (CONFIG_PVH)")
        }
        let release = try FileStore.read("\(objects)/include/config/kernel.release").filter { $0 > 0x20 }
        try FileStore.write(settled, to: "\(staged)/config")
        try FileStore.write(Array(compiler.utf8), to: "\(staged)/compiler")
        try FileStore.write(release, to: "\(staged)/release")
        FileStore.remove(mark)
        try FileStore.makeDirectory(kernels)
        FileStore.remove("\(kernels)/\(key)")  // Not whole, or it would have been used.
        try FileStore.rename(staged, to: "\(kernels)/\(key)")
        guard let kernel = LeanKernel(key: key, kernels: kernels) else {
            throw .damagedCache(path: "\(kernels)/\(key)", problem: "it vanished")
        }
        return kernel
    }

    private func compile(log: String) async throws(ImageError) {
        progress(.compiling(files: 0))
        let watcher = Task {
            var told = 0
            while (try? await Task.sleep(for: .seconds(1))) != nil {
                let files = Self.steps(in: log)
                // Each report is a line somewhere.
                if files / 100 > told / 100 { progress(.compiling(files: files)) }
                told = files
            }
        }
        defer { watcher.cancel() }
        try await make(["--jobs=\(ProcessInfo.processInfo.activeProcessorCount)", "vmlinux"], log: log)
    }

    /// How many files a build has made: kbuild prints a line for each, `  CC      drivers/nvme/host/pci.o`.
    static func steps(in log: String) -> Int {
        guard let bytes = try? FileStore.read(log) else { return 0 }
        return bytes.split(separator: UInt8(ascii: "\n")).count { $0.starts(with: "  ".utf8) }
    }

    private func make(_ arguments: [String], log: String) async throws(ImageError) {
        try await tools.build(["--no-print-directory", "-C", source.directory, "O=\(objects)"] + arguments, log: log)
    }

    /// Programs that are missing name themselves when they are needed, minutes into the build; so they are looked for before.
    private func checkPrerequisites() throws(ImageError) {
        guard let first = KernelPrerequisites(tools: tools).missing.first else { return }
        throw .programMissing(program: first.name, package: first.package)
    }
}
