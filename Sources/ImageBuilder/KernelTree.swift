/// An unpacked kernel package in the cache: `kernels/SHA256/` with `vmlinux`, `modules/` and `release`.
///
/// Unpacking takes seconds (indexing compressed modules most of them), and every image of the same kernel needs it.
struct KernelTree: Sendable {
    var package: KernelPackage
    var directory: String
    /// `uname -r`
    var release: String

    var vmlinux: String { "\(directory)/vmlinux" }
    /// What is `/lib/modules/RELEASE` in the guest.
    var modules: String { "\(directory)/modules" }

    /// The tree, if it is there and whole. It is renamed into place when complete, so what is there is whole.
    init?(package: KernelPackage, kernels: String) {
        let directory = "\(kernels)/\(package.sha256)"
        guard let bytes = try? FileStore.read("\(directory)/release") else { return nil }
        self.init(package: package, directory: directory, release: String(decoding: bytes, as: UTF8.self))
    }

    private init(package: KernelPackage, directory: String, release: String) {
        (self.package, self.directory, self.release) = (package, directory, release)
    }

    /// Unpacks a package file. `staging` is a directory on the same file system; the caller removes it.
    static func unpack(
        _ package: KernelPackage, file: String, kernels: String, staging: String, tools: Tools,
        progress: @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> KernelTree {
        progress(.extracting(package: package.name))
        let root = "\(staging)/root"
        let tree = "\(staging)/kernel"
        try FileStore.makeDirectory(root)
        try FileStore.makeDirectory(tree)
        try await tools.output(of: .dpkgDeb, ["--extract", file, root], writing: root)
        let boot = try FileStore.names(in: "\(root)/boot")
        guard let image = boot.first(where: { $0.hasPrefix("vmlinuz-") }) else {
            throw .badKernel(package: package.name, problem: "it has no /boot/vmlinuz")
        }
        let release = String(image.dropFirst("vmlinuz-".count))
        // Packages of a merged /usr have their modules in /usr/lib.
        let places = ["\(root)/lib/modules/\(release)", "\(root)/usr/lib/modules/\(release)"]
        guard let modules = places.first(where: { FileStore.exists($0) }) else {
            throw .badKernel(package: package.name, problem: "it has no modules for \(release)")
        }

        progress(.unpackingKernel)
        try await unpackKernel("\(root)/boot/\(image)", to: "\(tree)/vmlinux", package.name, staging, tools)

        progress(.selectingModules)
        if !FileStore.exists("\(modules)/modules.dep") {
            let base = modules.hasPrefix("\(root)/usr/") ? "\(root)/usr" : root
            let map = "\(root)/boot/System.map-\(release)"
            let symbols = FileStore.exists(map) ? ["-F", map] : []
            try await tools.output(of: .depmod, ["-b", base] + symbols + [release], writing: modules)
        }
        try FileStore.rename(modules, to: "\(tree)/modules")
        try FileStore.write(Array(release.utf8), to: "\(tree)/release")
        try FileStore.makeDirectory(kernels)
        let place = "\(kernels)/\(package.sha256)"
        FileStore.remove(place)  // Not whole, or it would have been used.
        try FileStore.rename(tree, to: place)
        FileStore.remove(root)
        return KernelTree(package: package, directory: place, release: release)
    }

    /// Takes the PVH kernel out of a bzImage.
    private static func unpackKernel(
        _ image: String, to vmlinux: String, _ package: String, _ staging: String, _ tools: Tools
    ) async throws(ImageError) {
        let bytes = try FileStore.read(image)
        let payload = try KernelPayload(untrusted: bytes, package: package)
        let compressed = "\(staging)/payload.\(payload.compression.rawValue)"
        try FileStore.write(Array(bytes[payload.range]), to: compressed)
        let (program, arguments) = payload.compression.decompressor
        try await tools.run(program, arguments + [compressed], outputTo: vmlinux)
        FileStore.remove(compressed)
        guard let format = try ExecutableFormat(untrustedFile: vmlinux) else {
            throw .badKernel(package: package, problem: "its payload isn't an x86-64 kernel")
        }
        guard format.hasPVHEntry else {
            throw .badKernel(package: package, problem: "it has no PVH entry (CONFIG_PVH)")
        }
    }

    func index(extraAliases: [ImageRecipe.Alias]) throws(ImageError) -> ModuleIndex {
        func optional(_ name: String) throws(ImageError) -> [UInt8] {
            FileStore.exists("\(modules)/\(name)") ? try FileStore.read("\(modules)/\(name)") : []
        }
        return ModuleIndex(
            dep: try FileStore.read("\(modules)/modules.dep"), alias: try optional("modules.alias"),
            softdep: try optional("modules.softdep"), builtin: try optional("modules.builtin"),
            builtinModinfo: try optional("modules.builtin.modinfo"), extraAliases: extraAliases)
    }

    /// The bytes that `finit_module` takes, of each module, in the order asked for.
    func contents(of paths: [String], staging: String, tools: Tools) async throws(ImageError) -> [[UInt8]] {
        let place = "\(staging)/modules"
        try FileStore.makeDirectory(place)
        defer { FileStore.remove(place) }
        var files: [String] = []
        var packed: [String: [String]] = [:]
        for (index, path) in paths.enumerated() {
            let file = FileStore.fileName(of: path)
            guard let suffix = file.firstRange(of: ".ko.").map({ String(file[$0.upperBound...]) }) else {
                files.append("\(modules)/\(path)")
                continue
            }
            // Decompressors want a file of their own to replace.
            let copy = "\(place)/\(index).ko"
            try FileStore.write(try FileStore.read("\(modules)/\(path)"), to: "\(copy).\(suffix)")
            packed[suffix, default: []].append("\(copy).\(suffix)")
            files.append(copy)
        }
        for (suffix, copies) in packed.sorted(by: { $0.key < $1.key }) {
            switch suffix {
            case "xz": try await tools.output(of: .xz, ["-d", "--"] + copies, writing: place)
            case "zst": try await tools.output(of: .zstd, ["-dq", "--rm", "--"] + copies, writing: place)
            case "gz": try await tools.output(of: .gzip, ["-d", "--"] + copies, writing: place)
            default: throw .badKernel(package: package.name, problem: "its modules are compressed in an unknown way (.\(suffix))")
            }
        }
        var contents: [[UInt8]] = []
        for file in files { contents.append(try FileStore.read(file)) }
        return contents
    }

    /// Where a module is in the guest.
    func guestPath(_ path: String) -> String {
        let plain = path.firstRange(of: ".ko.").map { String(path[..<$0.lowerBound]) + ".ko" } ?? path
        return "/lib/modules/\(release)/\(plain)"
    }
}
