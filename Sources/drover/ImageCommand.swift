import ControlAPI
import ArgumentParser
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import Installation
import PCIInventory

struct ImageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Build and look at DD/OS images.",
        discussion: """
            An image is a Debian kernel, unmodified, and an initramfs with the server stub and exactly the modules that a device needs; or, \
            with a lean recipe, a kernel built from Debian's source with nothing but what the device needs, and no modules. \
            Images are kept by the hash of all that went into them: the same inputs give the same bytes.
            """,
        subcommands: [ImageBuild.self, ImageList.self, ImageInspect.self, ImageRecipes.self, ImagePrune.self])
}

struct ImageBuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Build the image for a device.",
        discussion: "Does nothing but print the image when it is in the cache already.")

    @Argument(help: "A recipe: see 'drover image recipes'.") var recipe = DDOSConfiguration.leanImage
    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("A device model (nvme, ahci, e1000, …) or a PCI address (0000:01:00.0).", valueName: "device")
    )
    var device: String
    @OptionGroup var images: ImageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let stub: String
        do {
            stub = try Installation.serverStub()
        } catch {
            throw Complaint("\(error).")
        }
        let (modaliases, extraModules) = try needs()
        let quiet = output.json
        let image: BuiltImage
        do {
            image = try await ImageBuilder(cacheDirectory: images.cacheDir, recipesDirectory: images.images).build(
                recipe: recipe, modaliases: modaliases, extraModules: extraModules, serverStub: stub,
                progress: { if !quiet { Complaint.progress($0.description) } })
        } catch {
            throw Complaint(error.description, status: error.isNotFound ? 4 : 1)
        }
        try output.print(image.manifest) { _ in ImageInspect.text(image) }
    }

    private func needs() throws -> (modaliases: [String], extraModules: [String]) {
        if let model = DeviceModel(rawValue: device) { return ([model.modalias], model.extraModules) }
        if let model = NetworkModel(rawValue: device) {
            return ([model.modalias], PCIFunction.networkModules(with: model.extraModules))
        }
        guard let address = PCIAddress(device) else {
            let models = (DeviceModel.allCases.map(\.rawValue) + NetworkModel.allCases.map(\.rawValue)).joined(separator: ", ")
            throw Complaint("'\(device)' is no PCI address (0000:01:00.0) and no device model; these are: \(models).", status: 2)
        }
        do {
            let function = try PCIInventory().function(at: address)
            return ([function.modalias], function.upperModules)
        } catch {
            throw Complaint(error.description, status: 4)
        }
    }
}

struct ImageList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the images in the cache.")

    @OptionGroup var images: ImageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let list: [BuiltImage]
        do {
            list = try ImageBuilder(cacheDirectory: images.cacheDir, recipesDirectory: images.images).list()
        } catch {
            throw Complaint(error.description)
        }
        try output.print(list.map(\.manifest)) { manifests in
            var table = Table([
                .text("IMAGE"), .text("RECIPE"), .text("KERNEL"), .figure("MODULES"), .figure("VMLINUX"), .figure("INITRD"), .text("FOR"),
            ])
            for manifest in manifests {
                table.add(
                    String(manifest.hash.prefix(12)), manifest.recipe, manifest.kernelRelease, "\(manifest.modules.count)",
                    Figures.bytes(manifest.vmlinux.size), Figures.bytes(manifest.initrd.size),
                    manifest.modaliases.flatMap { $0.modules + $0.builtin }.joined(separator: ", "))
            }
            return table.text
        }
    }
}

struct ImageInspect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "inspect", abstract: "Show an image's manifest.")

    @Argument(help: ArgumentHelp("The image's hash, or the start of it.", valueName: "hash")) var hash: String
    @OptionGroup var images: ImageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let image: BuiltImage
        do {
            image = try ImageBuilder(cacheDirectory: images.cacheDir, recipesDirectory: images.images).inspect(hash: hash)
        } catch {
            throw Complaint(error.description, status: 4)
        }
        try output.print(image.manifest) { _ in Self.text(image) }
    }

    static func text(_ image: BuiltImage) -> String {
        let manifest = image.manifest
        var lines = [
            "image      \(image.hash)",
            "recipe     \(manifest.recipe)",
            "package    \(manifest.package.name) \(manifest.package.version) (sha256 \(manifest.package.sha256))",
            "kernel     \(image.kernel), Linux \(manifest.kernelRelease), \(Figures.bytes(manifest.vmlinux.size))",
            "initramfs  \(image.initrd), \(Figures.bytes(manifest.initrd.size))",
            "stub       \(Figures.bytes(manifest.serverStub.size))",
            "options    \(manifest.commandLine)",
        ]
        if let lean = manifest.lean {
            lines.append("built from \((["base"] + lean.fragments).joined(separator: ", ")) by \(lean.compiler)")
            lines.append("config     \((image.kernel as NSString).deletingLastPathComponent)/config")
        }
        if let memory = manifest.memoryMiB {
            lines.append("memory     \(memory) MiB\(manifest.poolMiB.map { ", of which \($0) MiB are the pool" } ?? "")")
        }
        for alias in manifest.modaliases {
            let builtin = alias.builtin.map { $0 + " (built in)" }
            lines.append("device     \(alias.modalias) → \((alias.modules + builtin).joined(separator: ", "))")
        }
        for module in manifest.modules {
            lines.append(
                "module     \(module.name)\(module.parameters.isEmpty ? "" : " " + module.parameters), \(Figures.bytes(module.file.size))")
        }
        return lines.joined(separator: "\n")
    }
}

struct ImageRecipes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "recipes", abstract: "List the recipes there are.")

    @OptionGroup var images: ImageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let recipes: [ImageRecipe]
        do {
            recipes = try ImageBuilder(cacheDirectory: images.cacheDir, recipesDirectory: images.images).recipes()
        } catch {
            throw Complaint(error.description)
        }
        try output.print(recipes) { recipes in
            var table = Table([.text("RECIPE"), .text("KIND"), .text("PACKAGE"), .text("DESCRIPTION")])
            for recipe in recipes { table.add(recipe.name, recipe.kind.rawValue, recipe.package, recipe.description) }
            return table.text
        }
    }
}

struct ImagePrune: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune", abstract: "Delete images and packages that nothing uses.",
        discussion: "Images of a running supervisor's DD/OSs are kept.")

    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var images: ImageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var keep: Set<String> = []
        do {
            keep = try await supervisor.withClient { client in
                var hashes: Set<String> = []
                for ddos in try await client.list() {
                    if let hash = try await client.inspect(ddos.name).imageHash { hashes.insert(hash) }
                }
                return hashes
            }
        } catch let error as ControlError where error.body.code == .unavailable {
            // No supervisor, so nothing is in use.
        }
        let pruned: PrunedFiles
        do {
            pruned = try ImageBuilder(cacheDirectory: images.cacheDir, recipesDirectory: images.images).prune(keeping: keep)
        } catch {
            throw Complaint(error.description)
        }
        try output.print(pruned) {
            "\($0.images.count) images and \($0.packages.count) packages deleted, \(Figures.bytes($0.bytes)) freed"
        }
    }
}

extension Complaint {
    /// A line of progress, on standard error so that standard output stays clean.
    static func progress(_ text: String) {
        FileHandle.standardError.write(Data("  \(text)\n".utf8))
    }
}
