import Foundation

/// Where Drover's programs and image recipes are: beside the running program in a build, in their own folders when installed, or where the
/// environment says.
public enum Installation {
    /// What is not installed, and where it was looked for.
    public struct Missing: Error, Sendable, Equatable, CustomStringConvertible {
        public var program: String
        public var searched: [String]

        public var description: String {
            "\(program) is not installed (looked in \(searched.joined(separator: ", "))); build it with 'make', or set DROVER_LIBEXEC"
        }
    }

    /// Path of a program of Drover's, `droverd` for instance.
    public static func program(_ name: String) throws(Missing) -> String {
        let folders = searchPath
        for folder in folders where FileManager.default.isExecutableFile(atPath: folder + "/" + name) { return folder + "/" + name }
        throw Missing(program: name, searched: folders)
    }

    /// The guest's server stub: `DROVER_SERVER_STUB`, or `drover-server-stub.guest` beside the other programs.
    public static func serverStub() throws(Missing) -> String {
        guard let path = environment["DROVER_SERVER_STUB"] else { return try program("drover-server-stub.guest") }
        guard FileManager.default.fileExists(atPath: path) else { throw Missing(program: path, searched: ["DROVER_SERVER_STUB"]) }
        return path
    }

    /// The folder of image recipes: `DROVER_IMAGES`, `Images/` of the checkout that the running program was built in, or the installed ones.
    public static let recipes: String = {
        if let path = environment["DROVER_IMAGES"] { return path }
        var folder = ownFolder
        for _ in 0..<6 {
            let candidate = folder + "/Images"
            if FileManager.default.fileExists(atPath: folder + "/Package.swift"), FileManager.default.fileExists(atPath: candidate) {
                return candidate
            }
            folder = (folder as NSString).deletingLastPathComponent
        }
        let installed = ownFolder + "/../share/drover/images"
        return FileManager.default.fileExists(atPath: installed) ? installed : "/usr/share/drover/images"
    }()

    /// The folder of the running program.
    private static let ownFolder: String = {
        let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (path as NSString).deletingLastPathComponent
    }()

    private static let environment = ProcessInfo.processInfo.environment

    private static var searchPath: [String] {
        (environment["DROVER_LIBEXEC"].map { [$0] } ?? []) + [ownFolder, ownFolder + "/../libexec/drover", "/usr/libexec/drover"]
    }
}
