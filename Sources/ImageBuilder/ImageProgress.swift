/// A step of a build, for people to watch.
public enum ImageProgress: Sendable, Equatable {
    /// The image is in the cache; nothing is built.
    case cached(hash: String)
    /// Another builder works on this cache; waiting until it is done.
    case waitingForOtherBuilder
    /// Asking apt which package the recipe means.
    case resolving(package: String)
    /// `received` of `total` bytes of the package are here.
    case downloading(package: String, received: UInt64, total: UInt64)
    case verifying(package: String)
    case extracting(package: String)
    case unpackingKernel
    case selectingModules
    /// Settling the configuration of a kernel that is built.
    case configuring(options: Int)
    /// `files` have been compiled so far. How many it will be is not known before.
    case compiling(files: Int)
    /// No fragment of a lean recipe covers the device, so a stock image is built.
    case fallingBack(device: String, recipe: String)
    case packingInitrd(modules: Int)
    case done(hash: String)
}

extension ImageProgress: CustomStringConvertible {
    /// A few words in the present tense, without a trailing full stop.
    public var description: String {
        switch self {
        case .cached(let hash): "image \(hash.prefix(12)) is in the cache"
        case .waitingForOtherBuilder: "waiting for another image build to finish"
        case .resolving(let package): "looking up \(package)"
        case .downloading(let package, let received, let total):
            "downloading \(package) (\(received / 1_000_000) of \(total / 1_000_000) MB)"
        case .verifying(let package): "verifying \(package)"
        case .extracting(let package): "extracting \(package)"
        case .unpackingKernel: "unpacking the kernel"
        case .selectingModules: "selecting modules"
        case .configuring(let options): "configuring the kernel (\(options) options asked for)"
        case .compiling(let files): "compiling the kernel (\(files) files)"
        case .fallingBack(let device, let recipe): "no fragment covers \(device): using \(recipe) instead"
        case .packingInitrd(let modules): "packing the initramfs (\(modules) modules)"
        case .done(let hash): "image \(hash.prefix(12)) is ready"
        }
    }
}
