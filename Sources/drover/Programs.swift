import Foundation

/// Where Drover's programs and recipes are: beside this one in a build, in their own folders when installed.
enum Programs {
    private static let environment = ProcessInfo.processInfo.environment

    /// The folder of the running program.
    static let own: String = {
        let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/usr/local/bin/drover"
        return (path as NSString).deletingLastPathComponent
    }()

    /// The first of the usual places that has a program of this name.
    static func path(of name: String) -> String? {
        let folders = [environment["DROVER_LIBEXEC"], own, own + "/../libexec/drover"].compactMap(\.self)
        return folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    static var serverStub: String? { environment["DROVER_SERVER_STUB"] ?? path(of: "drover-server-stub.guest") }

    static let recipesDirectory: String = {
        if let named = environment["DROVER_IMAGES"] { return named }
        let places = [own + "/../../../Images", own + "/../share/drover/images", "Images"]
        return places.first { FileManager.default.fileExists(atPath: $0) } ?? "/usr/share/drover/images"
    }()
}
