/// Where `/sys`, `/proc` and `/dev` are looked for: this machine's own, or a made-up machine's in a directory.
public struct MachineRoot: Sendable, Equatable {
    private let directory: String

    public init(_ directory: String = "/") {
        self.directory = directory.hasSuffix("/") ? directory : directory + "/"
    }

    /// - Parameter name: such as `sys/bus/pci`, without a slash before it.
    func path(of name: String) -> String { directory + name }

    /// A file's text; nil if there is none or it can't be read.
    func text(_ name: String) -> String? { (try? wholeText(path(of: name))).flatMap { $0 } }

    /// Where a symbolic link points; nil if there is none or it can't be read.
    func linkTarget(_ name: String) -> String? { (try? linkText(path(of: name))).flatMap { $0 } }

    /// Names in a directory; none if it can't be read.
    func names(in name: String) -> [String] { directoryNames(path(of: name)) }
}
