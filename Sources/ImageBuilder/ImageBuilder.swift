internal import Glibc

/// Builds DD/OS images from Debian's own packages, and keeps them in a content-addressed cache.
///
/// The cache directory holds `packages/` (what apt downloaded), `kernels/` (those, unpacked or built) and `images/HASH/` with
/// `vmlinux`, `initrd` and `manifest.json`. Any number of builders, in any number of processes, may use one cache.
public struct ImageBuilder: Sendable {
    /// For instance `/var/cache/drover`. Created when needed.
    public let cacheDirectory: String
    /// For instance `/usr/share/drover/Images`.
    public let recipesDirectory: String

    let tools: Tools
    /// What apt's answers depend on; tests have their own apt.
    var aptState = ResolvedPackages.aptState
    /// Where this machine's packages put firmware.
    var firmwareDirectory = "/lib/firmware"
    var cache: ImageCache { ImageCache(directory: cacheDirectory) }

    /// - Parameter searchPath: Where apt-get, dpkg-deb and the others are found; as `PATH`.
    public init(cacheDirectory: String, recipesDirectory: String, searchPath: String? = nil) {
        self.cacheDirectory = cacheDirectory
        self.recipesDirectory = recipesDirectory
        // depmod is in sbin, which people's PATH may lack.
        let inherited = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        tools = Tools(searchPath: searchPath ?? inherited + ":/usr/sbin:/sbin")
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
        let recipe = try self.recipe(named: recipe)
        for module in extraModules where !ImageRecipe.isModule(module) {
            throw .noSuchModule(name: module, kernelRelease: recipe.name)
        }
        try checkServerStub(serverStub)
        if let lean = recipe.lean {
            return try await buildLean(
                recipe, lean, modaliases: modaliases, extraModules: extraModules, serverStub: serverStub, progress: progress)
        }
        let package = try await package(of: recipe, progress: progress)
        let inputs = ImageInputs(
            recipe: recipe, package: package, modaliases: modaliases, extraModules: extraModules,
            serverStub: try await tools.file(serverStub))
        let hash = try await inputs.hash(tools)
        if let image = try cache.image(hash) {
            progress(.cached(hash: hash))
            return image
        }

        let lock = try await cache.lock { progress(.waitingForOtherBuilder) }
        defer { withExtendedLifetime(lock) {} }
        if let image = try cache.image(hash) {
            progress(.cached(hash: hash))
            return image
        }
        try clearStaging(cache.staging)
        defer { FileStore.remove(cache.staging) }
        if Task.isCancelled { throw .cancelled }
        let tree = try await stockTree(package, progress: progress)
        let image = try await assemble(inputs, hash: hash, tree: tree, serverStub: serverStub, progress: progress)
        progress(.done(hash: hash))
        return image
    }

    var archive: DebianArchive { DebianArchive(tools: tools, directory: cache.packages) }

    func package(
        of recipe: ImageRecipe, progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> KernelPackage {
        try await ResolvedPackages(path: "\(cache.packages)/resolved.json", stateFiles: aptState)
            .resolve(recipe.package, version: recipe.version, in: archive, progress: progress)
    }

    func clearStaging(_ staging: String) throws(ImageError) {
        FileStore.remove(staging)
        try FileStore.makeDirectory(staging)
    }

    /// The unpacked stock kernel. The caller holds the cache's lock and has its staging directory.
    func stockTree(
        _ package: KernelPackage, progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> KernelTree {
        if let tree = KernelTree(package: package, kernels: cache.kernels) { return tree }
        let file = try await archive.fetch(package, staging: cache.staging, progress: progress)
        return try await KernelTree.unpack(
            package, file: file, kernels: cache.kernels, staging: cache.staging, tools: tools, progress: progress)
    }

    private func checkServerStub(_ path: String) throws(ImageError) {
        guard FileStore.exists(path) else { throw .badServerStub(path: path, problem: "there is no such file") }
        guard let format = try ExecutableFormat(untrustedFile: path) else {
            throw .badServerStub(path: path, problem: "it isn't an x86-64 program")
        }
        guard !format.hasInterpreter else {
            throw .badServerStub(path: path, problem: "it is linked dynamically, and the guest has no libraries")
        }
    }

    /// The recipes there are, by name.
    public func recipes() throws(ImageError) -> [ImageRecipe] {
        var recipes: [ImageRecipe] = []
        for name in try recipeNames() { recipes.append(try readRecipe(name)) }
        return recipes
    }

    private func recipeNames() throws(ImageError) -> [String] {
        try FileStore.names(in: recipesDirectory).filter { $0.hasSuffix(".yaml") && !$0.hasPrefix(".") }.map { String($0.dropLast(5)) }
    }

    func recipe(named name: String) throws(ImageError) -> ImageRecipe {
        let known = try recipeNames()
        guard known.contains(name) else { throw .noSuchRecipe(name: name, directory: recipesDirectory, known: known) }
        return try readRecipe(name)
    }

    private func readRecipe(_ name: String) throws(ImageError) -> ImageRecipe {
        let path = "\(recipesDirectory)/\(name).yaml"
        return try ImageRecipe(untrustedYAML: String(decoding: try FileStore.read(path), as: UTF8.self), name: name, path: path)
    }
}
