/// What a recipe of kind `lean` says beyond a stock one: from what a kernel for one device is configured.
public struct LeanRecipe: Sendable, Equatable, Codable {
    /// Kernel options that belong together, and the drivers that they bring.
    public struct Fragment: Sendable, Equatable, Codable {
        /// For instance `nvme`.
        public var name: String
        /// Path of a file of `CONFIG_X=value` lines, relative to the recipes' directory.
        public var configuration: String
        /// The drivers that are in the kernel with these options, by the names that their modules have in a stock kernel, with underscores.
        public var drivers: [String]
        /// Firmware that these drivers ask for: names below `/lib/firmware`, in the guest as on the host.
        public var firmware: [String]
        /// RAM that a kernel with these drivers boots in reliably, in MiB, where that is more than the recipe's.
        public var memoryMiB: Int?

        public init(name: String, configuration: String, drivers: [String], firmware: [String] = [], memoryMiB: Int? = nil) {
            self.name = name
            self.configuration = configuration
            self.drivers = drivers
            self.firmware = firmware
            self.memoryMiB = memoryMiB
        }
    }

    /// SHA-256 of the source package: the archive's signed index has to agree. Nil: what apt offers is taken.
    public var sha256: String?
    /// In every image of the recipe.
    public var base: Fragment
    public var fragments: [Fragment]
    /// The stock recipe for devices that no fragment covers. Its kernel's device tables also say which driver a device needs.
    public var fallback: String

    public init(sha256: String? = nil, base: Fragment, fragments: [Fragment], fallback: String) {
        self.sha256 = sha256
        self.base = base
        self.fragments = fragments
        self.fallback = fallback
    }

    /// The fragments that bring at least one driver of each of `needs`, in the recipe's order; nil when one need is covered by none.
    ///
    /// A device may match several drivers (`ahci` and `ata_generic`): one suffices. The needs of the controller come first, then those of
    /// what is behind it.
    func fragments(for needs: [[String]]) -> [Fragment]? {
        var chosen: [Fragment] = []
        for need in needs {
            let names = Set(need)
            // What comes with the base or with another need's fragment needs no further one: SCSI disks do, of many controllers.
            if ([base] + chosen).contains(where: { !names.isDisjoint(with: $0.drivers) }) { continue }
            guard let covering = fragments.first(where: { !names.isDisjoint(with: $0.drivers) }) else { return nil }
            chosen.append(covering)
        }
        return fragments.filter { fragment in chosen.contains { $0.name == fragment.name } }
    }
}
