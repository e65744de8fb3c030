/// Builds DD/OS images from Debian's own packages, and keeps them in a content-addressed cache.
///
/// The cache directory holds `packages/` (what apt downloaded) and `images/HASH/` with `vmlinux`, `initrd` and
/// `manifest.json`. Any number of builders, in any number of processes, may use one cache.
public struct ImageBuilder: Sendable {
    /// For instance `/var/cache/drover`. Created when needed.
    public let cacheDirectory: String
    /// For instance `/usr/share/drover/Images`.
    public let recipesDirectory: String

    public init(cacheDirectory: String, recipesDirectory: String) {
        self.cacheDirectory = cacheDirectory
        self.recipesDirectory = recipesDirectory
    }

    /// Gives an image for a device: from the cache if there is one, else builds it.
    ///
    /// - Parameters:
    ///   - recipe: Name of a file in ``recipesDirectory``, without `.yaml`.
    ///   - modaliases: Of the device and of what hangs below it. Each must have a driver in the recipe's kernel.
    ///   - extraModules: Further modules (`sd_mod`), each with optional parameters after a space.
    ///   - serverStub: Path of the guest's PID 1: a static x86-64 program.
    ///   - progress: Called for each step, from any thread.
    public func build(
        recipe: String,
        modaliases: [String],
        extraModules: [String] = [],
        serverStub: String,
        progress: @escaping @Sendable (ImageProgress) -> Void = { _ in }
    ) async throws(ImageError) -> BuiltImage {
        throw .noSuchRecipe(name: recipe, directory: recipesDirectory, known: [])
    }

    /// The recipes there are, by name.
    public func recipes() throws(ImageError) -> [ImageRecipe] { [] }

    /// The images in the cache, by recipe and hash.
    public func list() throws(ImageError) -> [BuiltImage] { [] }

    /// The image with this hash, or with the only one that begins so.
    public func inspect(hash: String) throws(ImageError) -> BuiltImage {
        throw .noSuchImage(hash: hash, matches: 0)
    }

    /// Removes images and packages that nothing needs: every image whose hash isn't in `keeping`, every package that
    /// no image left comes from, and what interrupted builds left.
    ///
    /// - Returns: What was removed.
    @discardableResult
    public func prune(keeping hashes: Set<String> = []) throws(ImageError) -> PrunedFiles {
        PrunedFiles(images: [], packages: [], bytes: 0)
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
