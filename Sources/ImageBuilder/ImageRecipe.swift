/// What a file in `Images/` says about an image.
public struct ImageRecipe: Sendable, Equatable, Codable {
    /// What kind of kernel: a distribution's binary one, or one built for the purpose.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// A distribution's binary kernel with the modules that the device needs.
        case stock
        /// A kernel built from a distribution's source with nothing but what the device needs.
        case lean
    }

    /// A device table that the package doesn't list, because its driver is built into the kernel.
    public struct Alias: Sendable, Equatable, Codable {
        /// As in `modules.alias`: `pci:v00001AF4d*`.
        public var match: String
        /// For instance `virtio_pci`. Counts only when the kernel really has it.
        public var driver: String

        public init(match: String, driver: String) {
            self.match = match
            self.driver = driver
        }
    }

    /// The file's name without `.yaml`.
    public var name: String
    public var kind: Kind
    /// One line for people.
    public var description: String
    /// A Debian package: a concrete kernel or a meta package that depends on one.
    public var package: String
    /// A version of ``package``; nil for the one apt would install.
    public var version: String?
    /// Modules that every image of this recipe has, in load order, each with optional parameters after a space.
    public var modules: [String]
    public var aliases: [Alias]
    /// Kernel command line.
    public var commandLine: String
    /// RAM of a DD/OS on this image, in MiB, of which ``poolMiB`` are the pool, unless the DD/OS's configuration says otherwise.
    public var memoryMiB: Int?
    public var poolMiB: Int?
    /// Of kind ``Kind/lean``, and only of that.
    public var lean: LeanRecipe?
}
