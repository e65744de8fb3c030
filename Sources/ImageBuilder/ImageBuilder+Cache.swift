extension ImageBuilder {
    /// The images in the cache, by recipe and hash.
    public func list() throws(ImageError) -> [BuiltImage] { try cache.list() }

    /// The image with this hash, or with the only one that begins so.
    public func inspect(hash: String) throws(ImageError) -> BuiltImage {
        let matches = try cache.list().filter { !hash.isEmpty && $0.hash.hasPrefix(hash.lowercased()) }
        guard matches.count == 1, let image = matches.first else { throw .noSuchImage(hash: hash, matches: matches.count) }
        return image
    }

    /// Removes images and packages that nothing needs: every image whose hash isn't in `keeping`, every package and
    /// kernel that no image left comes from, unpacked sources and objects, and what interrupted builds left.
    ///
    /// - Returns: What was removed.
    /// - Throws: ``ImageError/busy(directory:)`` while someone builds.
    @discardableResult
    public func prune(keeping hashes: Set<String> = []) throws(ImageError) -> PrunedFiles {
        guard FileStore.exists(cacheDirectory) else { return PrunedFiles(images: [], packages: [], bytes: 0) }
        let locks = [try cache.lockNow(.lean), try cache.lockNow()]
        defer { withExtendedLifetime(locks) {} }
        let before = FileStore.totalSize(cacheDirectory)
        // A source is unpacked anew in a quarter of a minute; a kernel that was built from it stays.
        for place in [cache.staging, cache.leanStaging, cache.sources, cache.objects] { FileStore.remove(place) }
        var removed = PrunedFiles(images: [], packages: [], bytes: 0)
        var packages: Set<String> = ["resolved.json"]
        var kernels: Set<String> = []
        let archive = DebianArchive(tools: tools, directory: cache.packages)
        for name in try FileStore.names(in: cache.images) {
            if hashes.contains(name), let image = try cache.image(name) {
                packages.insert(FileStore.fileName(of: archive.path(of: image.manifest.package)))
                kernels.insert(image.manifest.lean?.kernel ?? image.manifest.package.sha256)
            } else {
                FileStore.remove("\(cache.images)/\(name)")
                removed.images.append(name)
            }
        }
        for name in try FileStore.names(in: cache.packages) where !packages.contains(name) {
            FileStore.remove("\(cache.packages)/\(name)")
            removed.packages.append(name)
        }
        for name in try FileStore.names(in: cache.kernels) where !kernels.contains(name) {
            FileStore.remove("\(cache.kernels)/\(name)")
        }
        let after = FileStore.totalSize(cacheDirectory)
        removed.bytes = before > after ? before - after : 0
        return removed
    }
}

/// What ``ImageBuilder/prune(keeping:)`` removed.
public struct PrunedFiles: Sendable, Equatable, Codable {
    /// Hashes.
    public var images: [String]
    /// File names.
    public var packages: [String]
    /// Bytes freed.
    public var bytes: UInt64

    public init(images: [String], packages: [String], bytes: UInt64) {
        self.images = images
        self.packages = packages
        self.bytes = bytes
    }
}
