public import Hypervisor
import Foundation

/// What `droverd` is told on its command line.
public struct SupervisorOptions: Sendable {
    public var configurationFile: String
    public var runDirectory: String
    public var cacheDirectory: String
    /// Nil: `qemu:///embed` in the run directory.
    public var libvirtURI: String?
    /// Nil: `auto`.
    public var accelerator: Accelerator?
    /// Where image recipes are.
    public var recipesDirectory: String
    /// Given to client stubs.
    public var logLevel: String

    public init(
        configurationFile: String, runDirectory: String, cacheDirectory: String, libvirtURI: String? = nil, accelerator: Accelerator? = nil,
        recipesDirectory: String? = nil, logLevel: String = "info"
    ) {
        self.configurationFile = configurationFile
        self.runDirectory = Self.absolute(runDirectory)
        self.cacheDirectory = Self.absolute(cacheDirectory)
        self.libvirtURI = libvirtURI
        self.accelerator = accelerator
        self.recipesDirectory = Self.absolute(recipesDirectory ?? Programs.recipesDirectory())
        self.logLevel = logLevel
    }

    static func absolute(_ path: String) -> String {
        let url = URL(filePath: path).standardizedFileURL.path(percentEncoded: false)
        return url.count > 1 && url.hasSuffix("/") ? String(url.dropLast()) : url
    }
}

/// Where Drover's programs find each other: beside this one, or where `DROVER_LIBEXEC` says.
public enum Programs {
    /// Path of a program of Drover.
    public static func find(_ name: String) throws(SupervisionError) -> String {
        let directories = searchPath
        for directory in directories where FileManager.default.isExecutableFile(atPath: directory + "/" + name) {
            return directory + "/" + name
        }
        throw .programMissing(program: name, searched: directories)
    }

    /// The guest's server stub: `DROVER_SERVER_STUB`, or `drover-server-stub.guest` beside the other programs.
    public static func guestServerStub() throws(SupervisionError) -> String {
        if let path = ProcessInfo.processInfo.environment["DROVER_SERVER_STUB"] {
            guard FileManager.default.fileExists(atPath: path) else {
                throw .programMissing(program: path, searched: ["DROVER_SERVER_STUB"])
            }
            return path
        }
        return try find("drover-server-stub.guest")
    }

    /// `Images/` of the checkout that this program was built in, else what a package installs.
    public static func recipesDirectory() -> String {
        if let path = ProcessInfo.processInfo.environment["DROVER_IMAGES"] { return path }
        var directory = executableDirectory
        for _ in 0..<6 {
            let candidate = directory + "/Images"
            if FileManager.default.fileExists(atPath: directory + "/Package.swift"), FileManager.default.fileExists(atPath: candidate) {
                return candidate
            }
            directory = (directory as NSString).deletingLastPathComponent
        }
        let installed = executableDirectory + "/../share/drover/images"
        return FileManager.default.fileExists(atPath: installed) ? installed : "/usr/share/drover/images"
    }

    private static var executableDirectory: String {
        let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (path as NSString).deletingLastPathComponent
    }

    private static var searchPath: [String] {
        (ProcessInfo.processInfo.environment["DROVER_LIBEXEC"].map { [$0] } ?? []) + [
            executableDirectory, executableDirectory + "/../libexec/drover", "/usr/libexec/drover",
        ]
    }
}
