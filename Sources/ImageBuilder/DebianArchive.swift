internal import Glibc

/// Debian's package archive, as apt on this machine knows it.
struct DebianArchive: Sendable {
    var tools: Tools
    /// `packages/` of the cache.
    var directory: String

    /// The stanza of a package in apt's index, as far as it matters here.
    struct Stanza: Equatable {
        var package: KernelPackage
        /// The kernel packages it depends on: those that make it a meta package.
        var kernels: [(name: String, version: String?)]

        static func == (a: Stanza, b: Stanza) -> Bool {
            a.package == b.package && a.kernels.elementsEqual(b.kernels) { $0 == $1 }
        }

        /// Reads the first stanza that `apt-cache show` prints.
        init?(_ text: String) {
            var fields: [String: String] = [:]
            for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
                if line.isEmpty {
                    if fields.isEmpty { continue }
                    break
                }
                guard let colon = line.firstIndex(of: ":"), line.first != " " else { continue }
                fields[String(line[..<colon])] = String(line[line.index(after: colon)...].drop { $0 == " " })
            }
            guard let name = fields["Package"], let version = fields["Version"], let architecture = fields["Architecture"],
                let digest = fields["SHA256"], digest.utf8.count == 64, let size = fields["Size"].flatMap({ UInt64($0) })
            else { return nil }
            package = KernelPackage(name: name, version: version, architecture: architecture, sha256: digest, size: size)
            kernels = (fields["Depends"] ?? "").split(separator: ",").compactMap { Self.kernel($0) }
        }

        /// `linux-image-6.1.0-56-amd64 (= 6.1.192-2)`
        private static func kernel(_ dependency: Substring) -> (name: String, version: String?)? {
            let words = dependency.split { " ()".contains($0) }
            guard let name = words.first, name.hasPrefix("linux-image-") else { return nil }
            return (String(name), words.count == 3 && words[1] == "=" ? String(words[2]) : nil)
        }
    }

    /// The concrete package that a recipe means: what a meta package depends on, at the version apt would install.
    func resolve(_ name: String, version: String?) async throws(ImageError) -> KernelPackage {
        var name = name
        var version = version
        // Two steps lead from linux-image-amd64 to a kernel. A bound keeps a circle of meta packages from being followed.
        for _ in 0..<4 {
            let stanza = try await show(name, version: version)
            guard let kernel = stanza.kernels.first else { return stanza.package }
            (name, version) = kernel
        }
        throw .packageNotFound(name: name)
    }

    private func show(_ name: String, version: String?) async throws(ImageError) -> Stanza {
        let wanted = version.map { "\(name)=\($0)" } ?? name
        let outcome = try await tools.outcome(of: .aptCache, ["show", "--no-all-versions", wanted])
        guard outcome.succeeded else { throw .packageNotFound(name: wanted) }
        guard let stanza = Stanza(outcome.output) else { throw .packageNotFound(name: wanted) }
        return stanza
    }

    /// Where the package's file is kept.
    func path(of package: KernelPackage) -> String {
        // An epoch's colon is written %3a, as apt does.
        "\(directory)/\(package.name)_\(package.version.replacing(":", with: "%3a"))_\(package.architecture).deb"
    }

    /// Gives the package's file, verified: from the cache, else from the archive. A damaged file in the cache is
    /// fetched anew.
    ///
    /// - Parameter staging: A directory for the download; the caller removes it.
    func fetch(
        _ package: KernelPackage, staging: String, progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> String {
        let path = path(of: package)
        if FileStore.exists(path) {
            progress(.verifying(package: package.name))
            if try await tools.digests(of: [path])[0] == package.sha256 { return path }
            FileStore.remove(path)
        }
        let download = "\(staging)/download"
        try FileStore.makeDirectory(download)
        try await runDownload(package, into: download, progress)
        guard let name = try FileStore.names(in: download).first(where: { $0.hasSuffix(".deb") }) else {
            throw .downloadFailed(package: package.name, detail: "apt-get left no package file")
        }
        progress(.verifying(package: package.name))
        let digest = try await tools.digests(of: ["\(download)/\(name)"])[0]
        guard digest == package.sha256 else {
            throw .packageCorrupted(package: package.name, path: path, expected: package.sha256, found: digest)
        }
        try FileStore.makeDirectory(directory)
        try FileStore.rename("\(download)/\(name)", to: path)
        return path
    }

    private func runDownload(
        _ package: KernelPackage, into download: String, _ progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) {
        progress(.downloading(package: package.name, received: 0, total: package.size))
        // apt-get prints no progress without a terminal; the file grows in the directory.
        let watcher = Task {
            while (try? await Task.sleep(for: .milliseconds(200))) != nil {
                let received = min(FileStore.totalSize(download), package.size)
                progress(.downloading(package: package.name, received: received, total: package.size))
            }
        }
        defer { watcher.cancel() }
        // As root apt downloads as the user _apt, who can't write here, and warns that it then does so as root.
        let asRoot = geteuid() == 0 ? ["-o", "APT::Sandbox::User=root"] : []
        let wanted = "\(package.name):\(package.architecture)=\(package.version)"
        let outcome = try await tools.outcome(of: .aptGet, ["-q"] + asRoot + ["download", wanted], directory: download)
        if Task.isCancelled { throw .cancelled }
        if outcome.succeeded { return }
        if outcome.errors.contains("No space left on device") { throw .diskFull(path: download) }
        let reason = outcome.errors.split(separator: "\n").first { $0.hasPrefix("E: ") }.map { String($0.dropFirst(3)) }
        throw .downloadFailed(package: package.name, detail: reason ?? Tools.lastLine(outcome.errors))
    }
}
