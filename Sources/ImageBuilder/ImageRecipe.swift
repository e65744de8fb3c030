/// What a file in `Images/` says about an image.
public struct ImageRecipe: Sendable, Equatable, Codable {
    /// What kind of kernel: a distribution's binary one, or one built for the purpose.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        case stock
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
    /// Kernel command line.
    public var commandLine: String
}
