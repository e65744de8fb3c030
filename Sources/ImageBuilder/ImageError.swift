internal import Glibc

/// Why there is no image. The description is a sentence for people: what happened, to what, and what to do.
public enum ImageError: Error, Sendable, Equatable {
    /// No recipe of this name. `known` are those there are.
    case noSuchRecipe(name: String, directory: String, known: [String])
    /// A recipe that can't be read as one. Line and column count from 1; 0 when the place is not known.
    case badRecipe(path: String, line: Int, column: Int, problem: String)
    /// apt knows no such package (or version).
    case packageNotFound(name: String)
    /// apt knows the package but couldn't fetch it.
    case downloadFailed(package: String, detail: String)
    /// The package file isn't what the archive's index promises.
    case packageCorrupted(package: String, path: String, expected: String, found: String)
    /// The package has no kernel that boots by PVH, or isn't a kernel package.
    case badKernel(package: String, problem: String)
    /// Options that a lean image asks for ended up otherwise: another option keeps them from being set, or the kernel hasn't got them.
    case optionsNotSet(package: String, options: [String])
    /// A firmware file that the recipe names isn't on this machine.
    case firmwareMissing(file: String, path: String)
    /// No module and no built-in driver of this kernel matches.
    case noDriver(modalias: String, kernelRelease: String)
    /// A module that the recipe or the caller names isn't in this kernel.
    case noSuchModule(name: String, kernelRelease: String)
    /// The server stub for the guest isn't there, or isn't a static x86-64 program.
    case badServerStub(path: String, problem: String)
    /// A program that building needs isn't installed.
    case programMissing(program: String, package: String)
    /// A program that building needs failed. `detail` is the end of what it wrote to standard error.
    case programFailed(program: String, status: String, detail: String)
    case diskFull(path: String)
    /// A call on a file failed.
    case fileSystem(operation: String, path: String, errno: Int32)
    /// A file of the cache has been damaged.
    case damagedCache(path: String, problem: String)
    /// No image has this hash, or a prefix names more than one.
    case noSuchImage(hash: String, matches: Int)
    /// Someone builds an image in this cache now.
    case busy(directory: String)
    /// The task that built was cancelled. Nothing of the build is left.
    case cancelled
}

extension ImageError {
    /// Whether what was named does not exist, rather than that something failed.
    public var isNotFound: Bool {
        switch self {
        case .noSuchRecipe, .noSuchImage: true
        default: false
        }
    }
}

extension ImageError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .noSuchRecipe(let name, let directory, let known):
            "there is no image recipe “\(name)” in \(directory); there is: \(known.isEmpty ? "none" : known.joined(separator: ", "))"
        case .badRecipe(let path, let line, let column, let problem):
            line > 0 ? "\(path):\(line):\(column): \(problem)" : "\(path): \(problem)"
        case .packageNotFound(let name):
            "apt knows no package \(name); run `apt-get update`, and check the recipe and the sources in /etc/apt"
        case .downloadFailed(let package, let detail):
            "downloading \(package) failed: \(detail); check the network, then try again"
        case .packageCorrupted(let package, let path, let expected, let found):
            "the package file \(path) of \(package) is corrupted (SHA-256 \(found.prefix(16))…, the archive's index says "
                + "\(expected.prefix(16))…); delete it and try again"
        case .badKernel(let package, let problem):
            "the kernel of package \(package) can't be used: \(problem)"
        case .optionsNotSet(let package, let options):
            "the kernel of \(package) can't be configured as asked: \(options.joined(separator: ", ")); "
                + "something that these options depend on isn't set, or they have other names in this kernel"
        case .firmwareMissing(let file, let path):
            "the firmware \(file) that the recipe names isn't there (\(path)); install the package that has it (`apt-file search \(file)`)"
        case .noDriver(let modalias, let kernelRelease):
            "kernel \(kernelRelease) has no driver for the device \(modalias); choose another image or name the module"
        case .noSuchModule(let name, let kernelRelease):
            "kernel \(kernelRelease) has no module \(name)"
        case .badServerStub(let path, let problem):
            "\(path) can't be the guest's server stub: \(problem); build it with `make guest`"
        case .programMissing(let program, let package):
            "the program \(program) isn't installed; run `apt-get install \(package)`"
        case .programFailed(let program, let status, let detail):
            "\(program) failed (\(status))\(detail.isEmpty ? "" : ": \(detail)")"
        case .diskFull(let path):
            "no space left for \(path); free some (`drover image prune`) or choose another cache directory"
        case .fileSystem(let operation, let path, let errno):
            "can't \(operation) \(path): \(errnoText(errno))"
        case .damagedCache(let path, let problem):
            "\(path) is damaged: \(problem); run `drover image prune`"
        case .noSuchImage(let hash, let matches):
            matches > 1
                ? "\(hash) could be \(matches) images; give more digits"
                : "there is no image \(hash) in the cache; `drover image list` shows what there is"
        case .busy(let directory):
            "an image is being built in \(directory); try again when that is done"
        case .cancelled:
            "the build was cancelled"
        }
    }
}

func errnoText(_ code: Int32) -> String {
    guard let text = strerror(code) else { return "error \(code)" }
    return String(cString: text)
}
