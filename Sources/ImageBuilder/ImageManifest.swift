/// What an image is made of: the content of its `manifest.json`.
///
/// It holds nothing that differs between two builds from the same inputs (no time, no host name), so it is as
/// reproducible as the image itself.
public struct ImageManifest: Codable, Sendable, Equatable {
    /// Version of the builder's output. A builder with another version builds anew.
    public var formatVersion: Int
    /// The image's content address, 64 hexadecimal digits.
    public var hash: String
    /// The recipe's name, for instance `debian-6.1`.
    public var recipe: String
    /// What `uname -r` says in the guest, for instance `6.1.0-56-amd64`.
    public var kernelRelease: String
    /// The Debian package that the kernel and its modules come from, unmodified.
    public var package: KernelPackage
    /// Kernel command line that every DD/OS on this image gets, before what is its own.
    public var commandLine: String
    public var vmlinux: ImageFile
    public var initrd: ImageFile
    public var serverStub: ImageFile
    /// In load order.
    public var modules: [ImageModule]
    /// Which drivers were found for each modalias asked for.
    public var modaliases: [ModaliasResolution]
    /// What the kernel was built from; nil for a stock kernel.
    public var lean: LeanBuild?
    /// As the recipe says: RAM that a DD/OS on this image takes, and how much of it is the pool.
    public var memoryMiB: Int?
    public var poolMiB: Int?

    public init(
        formatVersion: Int, hash: String, recipe: String, kernelRelease: String, package: KernelPackage, commandLine: String,
        vmlinux: ImageFile, initrd: ImageFile, serverStub: ImageFile, modules: [ImageModule], modaliases: [ModaliasResolution],
        lean: LeanBuild? = nil, memoryMiB: Int? = nil, poolMiB: Int? = nil
    ) {
        self.formatVersion = formatVersion
        self.hash = hash
        self.recipe = recipe
        self.kernelRelease = kernelRelease
        self.package = package
        self.commandLine = commandLine
        self.vmlinux = vmlinux
        self.initrd = initrd
        self.serverStub = serverStub
        self.modules = modules
        self.modaliases = modaliases
        self.lean = lean
        self.memoryMiB = memoryMiB
        self.poolMiB = poolMiB
    }
}

/// How the kernel of a lean image came to be.
public struct LeanBuild: Codable, Sendable, Equatable {
    /// Names of the fragments beside the base.
    public var fragments: [String]
    /// The whole final configuration, beside the kernel in the cache as `config`.
    public var configuration: ImageFile
    /// What compiled it.
    public var compiler: String
    /// The kernel's key in the cache: images for other devices that need the same fragments have the same.
    public var kernel: String

    public init(fragments: [String], configuration: ImageFile, compiler: String, kernel: String) {
        self.fragments = fragments
        self.configuration = configuration
        self.compiler = compiler
        self.kernel = kernel
    }
}

/// A concrete kernel package of a Debian archive.
public struct KernelPackage: Codable, Sendable, Equatable {
    /// For instance `linux-image-6.1.0-56-amd64`, never a meta package.
    public var name: String
    /// For instance `6.1.192-2`.
    public var version: String
    /// For instance `amd64`.
    public var architecture: String
    /// SHA-256 of the `.deb`, as the archive's signed index says.
    public var sha256: String
    /// Bytes of the `.deb`.
    public var size: UInt64

    public init(name: String, version: String, architecture: String, sha256: String, size: UInt64) {
        self.name = name
        self.version = version
        self.architecture = architecture
        self.sha256 = sha256
        self.size = size
    }
}

/// A file of an image.
public struct ImageFile: Codable, Sendable, Equatable {
    public var sha256: String
    /// Bytes.
    public var size: UInt64

    public init(sha256: String, size: UInt64) {
        self.sha256 = sha256
        self.size = size
    }
}

/// A kernel module in an image's initramfs.
public struct ImageModule: Codable, Sendable, Equatable {
    /// With underscores, as `/proc/modules` has it.
    public var name: String
    /// Absolute path in the guest.
    public var path: String
    /// Module parameters; empty for none.
    public var parameters: String
    public var file: ImageFile

    public init(name: String, path: String, parameters: String, file: ImageFile) {
        self.name = name
        self.path = path
        self.parameters = parameters
        self.file = file
    }
}

/// The drivers that a modalias matched.
public struct ModaliasResolution: Codable, Sendable, Equatable {
    public var modalias: String
    /// Modules, with underscores. Dependencies are not among them.
    public var modules: [String]
    /// Drivers that this kernel has built in.
    public var builtin: [String]

    public init(modalias: String, modules: [String], builtin: [String]) {
        self.modalias = modalias
        self.modules = modules
        self.builtin = builtin
    }
}
