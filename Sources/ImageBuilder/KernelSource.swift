/// The unpacked source of a kernel: `sources/SHA256/` in the cache, exactly what the distribution's package holds.
struct KernelSource: Sendable {
    var package: KernelPackage
    /// Where the kernel's top `Makefile` is.
    var directory: String

    init?(package: KernelPackage, sources: String) {
        let place = "\(sources)/\(package.sha256)"
        guard let top = try? Self.top(of: place) else { return nil }
        (self.package, directory) = (package, top)
    }

    /// Unpacks a `linux-source-*` package: a package with an archive of the source in `/usr/src`.
    ///
    /// - Parameter staging: A directory on the same file system; the caller removes it.
    static func unpack(
        _ package: KernelPackage, file: String, sources: String, staging: String, tools: Tools,
        progress: @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> KernelSource {
        progress(.extracting(package: package.name))
        let root = "\(staging)/root"
        let source = "\(staging)/source"
        try FileStore.makeDirectory(root)
        try FileStore.makeDirectory(source)
        try await tools.output(of: .dpkgDeb, ["--extract", file, root], writing: root)
        let names = try FileStore.names(in: "\(root)/usr/src")
        guard let archive = names.first(where: { $0.hasPrefix("linux-source-") && $0.contains(".tar") }) else {
            throw .badKernel(package: package.name, problem: "it has no source in /usr/src")
        }
        try await tools.output(
            of: .tar, ["--extract", "--no-same-owner", "--file", "\(root)/usr/src/\(archive)", "--directory", source], writing: source)
        FileStore.remove(root)
        guard try top(of: source) != nil else {
            throw .badKernel(package: package.name, problem: "\(archive) in it has no Makefile where a kernel has one")
        }
        try FileStore.makeDirectory(sources)
        let place = "\(sources)/\(package.sha256)"
        FileStore.remove(place)  // Not whole, or it would have been used.
        try FileStore.rename(source, to: place)
        guard let result = KernelSource(package: package, sources: sources) else {
            throw .damagedCache(path: place, problem: "it vanished")
        }
        return result
    }

    /// The archive has one directory, of any name.
    private static func top(of place: String) throws(ImageError) -> String? {
        let names = try FileStore.names(in: place)
        guard names.count == 1, FileStore.exists("\(place)/\(names[0])/Kconfig"), FileStore.exists("\(place)/\(names[0])/Makefile") else {
            return nil
        }
        return "\(place)/\(names[0])"
    }
}
