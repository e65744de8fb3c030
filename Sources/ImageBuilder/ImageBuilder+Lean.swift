extension ImageBuilder {
    /// As ``build(recipe:modaliases:extraModules:serverStub:progress:)``, for a recipe of kind `lean`.
    ///
    /// A cached image is found by what it was asked with, so neither the device tables nor the source are looked at then.
    func buildLean(
        _ recipe: ImageRecipe, _ lean: LeanRecipe, modaliases: [String], extraModules: [String], serverStub: String,
        progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> BuiltImage {
        let package = try await package(of: recipe, progress: progress)
        if let sha256 = lean.sha256, sha256 != package.sha256 {
            throw .packageCorrupted(
                package: package.name, path: "apt's index", expected: "the recipe \(recipe.name) says \(sha256)", found: package.sha256)
        }
        var inputs = ImageInputs(
            recipe: recipe, package: package, modaliases: modaliases, extraModules: extraModules,
            serverStub: try await tools.file(serverStub))
        let files = try await readLean(lean)
        inputs.lean = files
        let hash = try await inputs.hash(tools)
        if let image = try cache.image(hash) {
            progress(.cached(hash: hash))
            return image
        }

        let (resolutions, fragments) = try await select(lean, inputs, progress: progress)
        guard let fragments else {
            let device = (modaliases + extraModules).joined(separator: ", ")
            progress(.fallingBack(device: device, recipe: lean.fallback))
            return try await build(
                recipe: lean.fallback, modaliases: modaliases, extraModules: extraModules, serverStub: serverStub, progress: progress)
        }
        let names = fragments.map(\.name)
        let kernel = try await leanKernel(
            package, try files.configuration(of: names, recipe: recipe.name), progress: progress)

        let lock = try await cache.lock { progress(.waitingForOtherBuilder) }
        defer { withExtendedLifetime(lock) {} }
        if let image = try cache.image(hash) {
            progress(.cached(hash: hash))
            return image
        }
        try clearStaging(cache.staging)
        defer { FileStore.remove(cache.staging) }
        var firmware: [(name: String, bytes: [UInt8])] = []
        for name in (fragments + [lean.base]).flatMap(\.firmware) { firmware.append((name, try readFirmware(name))) }
        progress(.packingInitrd(modules: 0))
        let staged = "\(cache.staging)/image"
        try FileStore.makeDirectory(staged)
        let archive = Self.initramfs(serverStub: try FileStore.read(serverStub), firmware: firmware)
        // Not compressed: it is smaller than what would unpack it, and no time is spent on that.
        try FileStore.write(archive.bytes(), to: "\(staged)/initrd")
        try FileStore.link(kernel.vmlinux, as: "\(staged)/vmlinux")
        try FileStore.link(kernel.configuration, as: "\(staged)/config")
        let manifest = ImageManifest(
            formatVersion: inputs.formatVersion, hash: hash, recipe: recipe.name, kernelRelease: kernel.release, package: package,
            commandLine: recipe.commandLine, vmlinux: try await tools.file("\(staged)/vmlinux"),
            initrd: try await tools.file("\(staged)/initrd"), serverStub: inputs.serverStub, modules: [], modaliases: resolutions,
            lean: LeanBuild(
                fragments: names, configuration: try await tools.file("\(staged)/config"), compiler: kernel.compiler, kernel: kernel.key),
            memoryMiB: (fragments.map(\.memoryMiB) + [recipe.memoryMiB]).compactMap(\.self).max(), poolMiB: recipe.poolMiB)
        if Task.isCancelled { throw .cancelled }
        let image = try cache.adopt(staged, manifest: manifest)
        progress(.done(hash: hash))
        return image
    }

    /// Reads the files that the recipe names, all of them: a mistake in one is told to whoever uses the recipe first.
    private func readLean(_ lean: LeanRecipe) async throws(ImageError) -> LeanInputs {
        func read(_ fragment: LeanRecipe.Fragment) async throws(ImageError) -> LeanInputs.Fragment {
            let path = "\(recipesDirectory)/\(fragment.configuration)"
            let text = String(decoding: try FileStore.read(path), as: UTF8.self)
            var firmware: [LeanInputs.Firmware] = []
            for name in fragment.firmware {
                let path = "\(firmwareDirectory)/\(name)"
                firmware.append(.init(name: name, sha256: FileStore.exists(path) ? try await tools.digests(of: [path])[0] : ""))
            }
            return .init(
                name: fragment.name, configuration: try KernelConfiguration(untrustedFragment: text, path: path), firmware: firmware)
        }
        var fragments: [LeanInputs.Fragment] = []
        for fragment in lean.fragments { fragments.append(try await read(fragment)) }
        return LeanInputs(base: try await read(lean.base), fragments: fragments)
    }

    private func readFirmware(_ name: String) throws(ImageError) -> [UInt8] {
        let path = "\(firmwareDirectory)/\(name)"
        guard FileStore.exists(path) else { throw .firmwareMissing(file: name, path: path) }
        return try FileStore.read(path)
    }

    /// Which drivers the device needs, by the tables of the stock kernel, and which fragments bring them; nil when something isn't covered.
    private func select(
        _ lean: LeanRecipe, _ inputs: ImageInputs, progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> ([ModaliasResolution], [LeanRecipe.Fragment]?) {
        let stock = try recipe(named: lean.fallback)
        guard stock.lean == nil else {
            throw .badRecipe(
                path: "\(recipesDirectory)/\(inputs.recipe.name).yaml", line: 0, column: 0,
                problem: "“fallback” has to name a stock recipe, and \(lean.fallback) is a lean one")
        }
        let package = try await package(of: stock, progress: progress)
        let lock = try await cache.lock { progress(.waitingForOtherBuilder) }
        defer { withExtendedLifetime(lock) {} }
        try clearStaging(cache.staging)
        defer { FileStore.remove(cache.staging) }
        let tree = try await stockTree(package, progress: progress)
        progress(.selectingModules)
        let found = try Self.resolve(inputs.modaliases, try tree.index(extraAliases: stock.aliases), tree.release)
        let extra = inputs.extraModules.map { [ModuleIndex.normalized(ImageInputs.moduleName($0))] }
        let needs = found.map { $0.modules + $0.builtin } + extra
        guard let fragments = lean.fragments(for: needs) else { return (found, nil) }
        // Of the drivers that match, those that this kernel has; they are all built in.
        let present = Set((fragments + [lean.base]).flatMap(\.drivers))
        let resolutions = found.map {
            ModaliasResolution(modalias: $0.modalias, modules: [], builtin: ($0.modules + $0.builtin).filter { present.contains($0) })
        }
        return (resolutions, fragments)
    }

    /// The kernel: from the cache, else built, which takes minutes for the first of a source and less for others.
    private func leanKernel(
        _ package: KernelPackage, _ configuration: KernelConfiguration, progress: @escaping @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> LeanKernel {
        let key = try await LeanKernel.key(source: package, configuration: configuration, tools: tools)
        if let kernel = LeanKernel(key: key, kernels: cache.kernels) { return kernel }
        let lock = try await cache.lock(.lean) { progress(.waitingForOtherBuilder) }
        defer { withExtendedLifetime(lock) {} }
        if let kernel = LeanKernel(key: key, kernels: cache.kernels) { return kernel }
        try clearStaging(cache.leanStaging)
        defer { FileStore.remove(cache.leanStaging) }
        if Task.isCancelled { throw .cancelled }
        var source = KernelSource(package: package, sources: cache.sources)
        if source == nil {
            let file = try await archive.fetch(package, staging: cache.leanStaging, progress: progress)
            source = try await KernelSource.unpack(
                package, file: file, sources: cache.sources, staging: cache.leanStaging, tools: tools, progress: progress)
        }
        guard let source else { throw .badKernel(package: package.name, problem: "it vanished from the cache") }
        try FileStore.makeDirectory(cache.objects)
        let build = KernelBuild(
            source: source, configuration: configuration, objects: "\(cache.objects)/\(package.sha256)", tools: tools, progress: progress)
        return try await build.run(key: key, kernels: cache.kernels, staging: cache.leanStaging)
    }
}
