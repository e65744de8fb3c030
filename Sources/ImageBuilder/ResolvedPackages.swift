internal import Foundation

/// Remembers which package a recipe's name meant, because asking apt takes a second and a cache hit should not.
///
/// What is remembered holds as long as apt's index is the same. When apt can't say (no index, no apt), the last
/// answer is better than none: it keeps the cache usable without a network.
struct ResolvedPackages: Sendable {
    /// `resolved.json` in `packages/` of the cache.
    var path: String
    /// What apt's answer depends on.
    var stateFiles: [String]

    static let aptState = ["/etc/apt", "/var/lib/apt/lists", "/var/lib/dpkg/status"]

    private struct Answer: Codable {
        var stamp: String
        var package: KernelPackage
    }

    private func key(_ name: String, _ version: String?) -> String { version.map { "\(name)=\($0)" } ?? name }

    func resolve(
        _ name: String, version: String?, in archive: DebianArchive, progress: @Sendable (ImageProgress) -> Void
    ) async throws(ImageError) -> KernelPackage {
        let stamp = stamp()
        let known = answers()[key(name, version)]
        if let known, known.stamp == stamp { return known.package }
        progress(.resolving(package: name))
        do throws(ImageError) {
            let package = try await archive.resolve(name, version: version)
            try remember(Answer(stamp: stamp, package: package), as: key(name, version))
            return package
        } catch {
            switch error {
            case .packageNotFound, .programMissing, .programFailed:
                if let known { return known.package }
            default: break
            }
            throw error
        }
    }

    /// A directory's time changes with the names in it, and apt replaces an index by renaming; the sources have
    /// directories of their own.
    private func stamp() -> String {
        var files = stateFiles
        for directory in stateFiles {
            files += ((try? FileStore.names(in: directory)) ?? []).map { "\(directory)/\($0)" }
        }
        return files.map { FileStore.stamp($0) }.joined(separator: ",")
    }

    private func answers() -> [String: Answer] {
        guard let bytes = try? FileStore.read(path) else { return [:] }
        // A damaged memory is an empty one.
        return (try? JSONDecoder().decode([String: Answer].self, from: Data(bytes))) ?? [:]
    }

    private func remember(_ answer: Answer, as key: String) throws(ImageError) {
        var answers = answers()
        answers[key] = answer
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(answers) else { return }
        try FileStore.makeDirectory(FileStore.directory(of: path))
        try FileStore.replace(path, with: Array(data))
    }
}
