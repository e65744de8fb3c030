internal import Foundation
internal import Glibc

/// The cache directory.
///
///     lock          flock: held by who builds or prunes
///     packages/     what apt downloaded, and resolved.json
///     kernels/      unpacked packages, by the package's SHA-256, and lean kernels, by their key
///     sources/      unpacked source packages, by the package's SHA-256
///     objects/      what kernel builds compiled, by the source's SHA-256
///     images/       images, by hash
///     building/     work in progress; whoever holds the lock owns it, so leftovers of the dead can go
///     lean.lock     flock: held by who builds a kernel, which takes minutes; other images are built meanwhile
///     compiling/    work in progress, of who holds lean.lock, as are sources/ and objects/
struct ImageCache: Sendable {
    var directory: String

    var packages: String { "\(directory)/packages" }
    var kernels: String { "\(directory)/kernels" }
    var images: String { "\(directory)/images" }
    var staging: String { "\(directory)/building" }
    var sources: String { "\(directory)/sources" }
    var objects: String { "\(directory)/objects" }
    var leanStaging: String { "\(directory)/compiling" }

    /// What may be held by one builder at a time.
    enum LockFile: String {
        /// All of the cache but what ``lean`` is for. Held after that one, if both.
        case cache = "lock"
        /// Building kernels.
        case lean = "lean.lock"
    }

    /// The image with this hash; nil when there is none, or it isn't whole.
    ///
    /// Reads the manifest and compares sizes only: hashing a kernel takes longer than booting should wait.
    func image(_ hash: String) throws(ImageError) -> BuiltImage? {
        let place = "\(images)/\(hash)"
        guard FileStore.exists("\(place)/manifest.json") else { return nil }
        let bytes = try FileStore.read("\(place)/manifest.json")
        guard let manifest = try? JSONDecoder().decode(ImageManifest.self, from: Data(bytes)), manifest.hash == hash,
            FileStore.size("\(place)/vmlinux") == manifest.vmlinux.size,
            FileStore.size("\(place)/initrd") == manifest.initrd.size
        else { return nil }
        return BuiltImage(hash: hash, kernel: "\(place)/vmlinux", initrd: "\(place)/initrd", manifest: manifest)
    }

    func list() throws(ImageError) -> [BuiltImage] {
        var found: [BuiltImage] = []
        for name in try FileStore.names(in: images) {
            if let image = try image(name) { found.append(image) }
        }
        return found.sorted { ($0.manifest.recipe, $0.hash) < ($1.manifest.recipe, $1.hash) }
    }

    /// Moves a complete image into place: no one sees half of one.
    func adopt(_ staged: String, manifest: ImageManifest) throws(ImageError) -> BuiltImage {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(manifest) else {
            throw .damagedCache(path: staged, problem: "its manifest can't be written as JSON")
        }
        try FileStore.write(Array(data) + [UInt8(ascii: "\n")], to: "\(staged)/manifest.json")
        try FileStore.makeDirectory(images)
        let place = "\(images)/\(manifest.hash)"
        FileStore.remove(place)  // Damaged, or it would have been used.
        try FileStore.rename(staged, to: place)
        return BuiltImage(hash: manifest.hash, kernel: "\(place)/vmlinux", initrd: "\(place)/initrd", manifest: manifest)
    }

    /// Waits for the lock without holding a thread, so that a cancelled build stops waiting.
    ///
    /// - Parameter waiting: Called once when another builder has it.
    func lock(_ file: LockFile = .cache, waiting: () -> Void) async throws(ImageError) -> Lock {
        try FileStore.makeDirectory(directory)
        let path = "\(directory)/\(file.rawValue)"
        let lock = try Lock(path)
        var told = false
        while try !lock.tryAcquire() {
            if !told { waiting() }
            told = true
            do { try await Task.sleep(for: .milliseconds(50)) } catch { throw .cancelled }
        }
        return lock
    }

    /// The lock, or an error when someone builds now.
    func lockNow(_ file: LockFile = .cache) throws(ImageError) -> Lock {
        try FileStore.makeDirectory(directory)
        let lock = try Lock("\(directory)/\(file.rawValue)")
        guard try lock.tryAcquire() else { throw .busy(directory: directory) }
        return lock
    }

    /// Held until it goes out of scope. The kernel lets go of it when the process dies.
    final class Lock: Sendable {
        private let descriptor: Int32
        private let path: String

        init(_ path: String) throws(ImageError) {
            self.path = path
            descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw FileStore.failure("open", path, errno) }
        }

        func tryAcquire() throws(ImageError) -> Bool {
            while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
                if errno == EWOULDBLOCK { return false }
                guard errno == EINTR else { throw FileStore.failure("lock", path, errno) }
            }
            return true
        }

        deinit {
            // A child that is being started has the descriptor too, until it runs its own program.
            flock(descriptor, LOCK_UN)
            close(descriptor)
        }
    }
}
