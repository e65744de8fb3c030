extension ImageBuilder {
    /// Selects the modules, writes the initramfs, links the kernel, and moves the image into the cache.
    func assemble(
        _ inputs: ImageInputs, hash: String, tree: KernelTree, serverStub: String,
        progress: @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> BuiltImage {
        progress(.selectingModules)
        let index = try tree.index(extraAliases: inputs.recipe.aliases)
        let resolutions = try Self.resolve(inputs.modaliases, index, tree.release)
        let names =
            inputs.recipe.modules.map(ImageInputs.moduleName) + resolutions.flatMap(\.modules)
            + inputs.extraModules.map(ImageInputs.moduleName)
        let steps = try index.loadOrder(of: names, kernelRelease: tree.release)
        let contents = try await tree.contents(of: steps.map(\.path), staging: cache.staging, tools: tools)

        progress(.packingInitrd(modules: steps.count))
        let parameters = inputs.parameters()
        var modules: [ImageModule] = []
        var files: [String] = []
        let loose = "\(cache.staging)/loose"
        try FileStore.makeDirectory(loose)
        for (step, bytes) in zip(steps, contents) {
            let path = "\(loose)/\(step.name)"
            try FileStore.write(bytes, to: path)
            files.append(path)
        }
        let digests = try await tools.digests(of: files)
        FileStore.remove(loose)
        for ((step, bytes), digest) in zip(zip(steps, contents), digests) {
            modules.append(
                ImageModule(
                    name: step.name, path: tree.guestPath(step.path), parameters: parameters[step.name] ?? "",
                    file: ImageFile(sha256: digest, size: UInt64(bytes.count))))
        }

        let staged = "\(cache.staging)/image"
        try FileStore.makeDirectory(staged)
        let archive = Self.initramfs(serverStub: try FileStore.read(serverStub), modules: modules, contents: contents)
        try await compress(archive, to: "\(staged)/initrd")
        try FileStore.link(tree.vmlinux, as: "\(staged)/vmlinux")
        let manifest = ImageManifest(
            formatVersion: inputs.formatVersion, hash: hash, recipe: inputs.recipe.name, kernelRelease: tree.release,
            package: inputs.package, commandLine: inputs.recipe.commandLine, vmlinux: try await tools.file("\(staged)/vmlinux"),
            initrd: try await tools.file("\(staged)/initrd"), serverStub: inputs.serverStub, modules: modules,
            modaliases: resolutions, memoryMiB: inputs.recipe.memoryMiB, poolMiB: inputs.recipe.poolMiB)
        if Task.isCancelled { throw .cancelled }
        return try cache.adopt(staged, manifest: manifest)
    }

    static func resolve(
        _ modaliases: [String], _ index: ModuleIndex, _ release: String
    ) throws(ImageError) -> [ModaliasResolution] {
        var resolutions: [ModaliasResolution] = []
        for modalias in modaliases {
            let (modules, builtin) = index.drivers(for: modalias)
            guard !(modules.isEmpty && builtin.isEmpty) else { throw .noDriver(modalias: modalias, kernelRelease: release) }
            resolutions.append(ModaliasResolution(modalias: modalias, modules: modules, builtin: builtin))
        }
        return resolutions
    }

    /// The guest's first root file system. PID 1 mounts the rest.
    static func initramfs(
        serverStub: [UInt8], modules: [ImageModule] = [], contents: [[UInt8]] = [], firmware: [(name: String, bytes: [UInt8])] = []
    ) -> CpioArchive {
        var archive = CpioArchive()
        archive.addFile("/init", permissions: 0o755, serverStub)
        // The kernel opens it as PID 1's standard streams before anything is mounted.
        archive.addCharacterDevice("/dev/console", major: 5, minor: 1)
        for directory in ["/proc", "/sys", "/run"] { archive.addDirectory(directory) }
        let lines = modules.map { $0.parameters.isEmpty ? $0.path : "\($0.path) \($0.parameters)" }
        archive.addFile("/etc/drover/modules", Array(lines.map { $0 + "\n" }.joined().utf8))
        for (module, bytes) in zip(modules, contents) { archive.addFile(module.path, bytes) }
        for (name, bytes) in firmware { archive.addFile("/lib/firmware/\(name)", bytes) }
        return archive
    }

    /// One thread and a fixed level: the same bytes come out each time.
    func compress(_ archive: CpioArchive, to path: String) async throws(ImageError) {
        let plain = "\(cache.staging)/initrd.cpio"
        try FileStore.write(archive.bytes(), to: plain)
        try await tools.output(of: .zstd, ["-q", "-15", "--single-thread", "--no-check", plain, "-o", path], writing: path)
        FileStore.remove(plain)
    }
}
