public import Hypervisor
import Foundation
import Installation

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
    /// Addresses of PCI devices to take even when the host is using them.
    public var forcedDevices: [String] = []

    public init(
        configurationFile: String, runDirectory: String, cacheDirectory: String, libvirtURI: String? = nil, accelerator: Accelerator? = nil,
        recipesDirectory: String? = nil, logLevel: String = "info"
    ) {
        self.configurationFile = configurationFile
        self.runDirectory = Self.absolute(runDirectory)
        self.cacheDirectory = Self.absolute(cacheDirectory)
        self.libvirtURI = libvirtURI
        self.accelerator = accelerator
        self.recipesDirectory = Self.absolute(recipesDirectory ?? Installation.recipes)
        self.logLevel = logLevel
    }

    static func absolute(_ path: String) -> String {
        let url = URL(filePath: path).standardizedFileURL.path(percentEncoded: false)
        return url.count > 1 && url.hasSuffix("/") ? String(url.dropLast()) : url
    }
}
