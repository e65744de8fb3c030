internal import Foundation
internal import Glibc

/// Everything that an image depends on. Its hash is the image's address.
///
/// The modules and their contents follow from the package, the recipe and what is asked for, so they need not be hashed
/// to know whether an image is there.
struct ImageInputs: Sendable, Encodable {
    /// To be raised whenever the builder's output changes for the same inputs.
    static let formatVersion = 1

    var formatVersion = Self.formatVersion
    var recipe: ImageRecipe
    var package: KernelPackage
    var modaliases: [String]
    var extraModules: [String]
    var serverStub: ImageFile
    /// Of a lean image: what the files that the recipe names hold.
    var lean: LeanInputs?

    init(recipe: ImageRecipe, package: KernelPackage, modaliases: [String], extraModules: [String], serverStub: ImageFile) {
        self.recipe = recipe
        // A description is for people.
        self.recipe.description = ""
        self.package = package
        // Order decides load order, so it is kept; a repetition says nothing.
        self.modaliases = Self.distinct(modaliases)
        self.extraModules = Self.distinct(extraModules)
        self.serverStub = serverStub
    }

    private static func distinct(_ values: [String]) -> [String] {
        var seen: Set<String> = []
        return values.filter { seen.insert($0).inserted }
    }

    func hash(_ tools: Tools) async throws(ImageError) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else {
            throw .damagedCache(path: "the image's inputs", problem: "they can't be written as JSON")
        }
        return try await tools.digest(of: Array(data))
    }

    /// The modules' names with what is said about their parameters, by name.
    func parameters() -> [String: String] {
        var parameters: [String: String] = [:]
        for module in recipe.modules + extraModules {
            let parts = module.split(separator: " ", maxSplits: 1)
            if parts.count == 2 { parameters[ModuleIndex.normalized(String(parts[0]))] = String(parts[1]) }
        }
        return parameters
    }

    static func moduleName(_ module: String) -> String { String(module.split(separator: " ").first ?? "") }
}

/// The files that a lean recipe names.
struct LeanInputs: Sendable, Encodable {
    struct Fragment: Sendable, Encodable {
        var name: String
        var configuration: KernelConfiguration
        var firmware: [Firmware]

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(name, forKey: .name)
            // Comments and order say nothing to a compiler.
            try container.encode(configuration.text, forKey: .configuration)
            try container.encode(firmware, forKey: .firmware)
        }

        private enum Keys: String, CodingKey { case name, configuration, firmware }
    }

    struct Firmware: Sendable, Encodable {
        /// Below `/lib/firmware`.
        var name: String
        /// SHA-256; empty when this machine hasn't got the file, which matters only to who needs it.
        var sha256: String
    }

    var base: Fragment
    var fragments: [Fragment]

    func configuration(of names: [String], recipe: String) throws(ImageError) -> KernelConfiguration {
        var configuration = base.configuration
        for fragment in fragments where names.contains(fragment.name) {
            try configuration.add(fragment.configuration, path: "fragment \(fragment.name) of \(recipe)")
        }
        return configuration
    }
}
