import DroverConfiguration
import Foundation
import ImageBuilder

extension Examination {
    /// What there is for images, and what building them takes. A DD/OS without a lean image gets a stock one: what is missing is a note.
    func images() -> [Finding] { [recipesThere(), compiler(), room(), cached()] }

    private var builder: ImageBuilder { ImageBuilder(cacheDirectory: cacheDirectory, recipesDirectory: recipes) }

    private var instead: String {
        "a DD/OS whose configuration names no image gets \(DDOSConfiguration.stockImage), which takes more memory"
    }

    private func recipesThere() -> Finding {
        do {
            let names = try builder.recipes().map(\.name)
            guard !names.isEmpty else {
                return Finding(
                    subject: "recipes", state: .missing, text: "none in \(recipes)", remedy: "set DROVER_IMAGES or give --images")
            }
            return Finding(subject: "recipes", state: .good, text: "\(names.joined(separator: ", ")) in \(recipes)")
        } catch {
            return Finding(subject: "recipes", state: .missing, text: error.description, remedy: "mend the recipe, or give --images")
        }
    }

    private func compiler() -> Finding {
        let missing = builder.missingForLean
        guard !missing.isEmpty else {
            return Finding(subject: "lean images", state: .good, text: "can be built: the compiler and what else it takes are installed")
        }
        let packages = Set(missing.map(\.package)).sorted().joined(separator: " ")
        return Finding(
            subject: "lean images", state: .note,
            text: "cannot be built without \(missing.map(\.name).joined(separator: ", ")); \(instead)",
            remedy: "apt-get install --no-install-recommends \(packages)")
    }

    private func room() -> Finding {
        var folder = cacheDirectory
        while !FileManager.default.fileExists(atPath: folder), folder.count > 1 { folder = (folder as NSString).deletingLastPathComponent }
        let free = (try? FileManager.default.attributesOfFileSystem(forPath: folder)[.systemFreeSize] as? UInt64) ?? nil
        guard let free else { return Finding(subject: "cache", state: .note, text: "cannot tell how much room \(folder) has") }
        let remedy = "drover image prune, or give --cache-dir"
        let lean = builder.roomForLean
        if free <= 1 << 30 {
            return Finding(
                subject: "cache", state: .missing,
                text: "only \(Figures.bytes(free)) free for \(cacheDirectory); a kernel takes 500 MiB to unpack", remedy: remedy)
        }
        if free < lean {
            return Finding(
                subject: "cache", state: .note,
                text: "\(Figures.bytes(free)) free for \(cacheDirectory), and the first lean image takes up to \(Figures.bytes(lean)): "
                    + "source, objects and packages; \(instead)", remedy: remedy)
        }
        return Finding(subject: "cache", state: .good, text: "\(cacheDirectory), \(Figures.bytes(free)) free")
    }

    /// So that nobody wonders about the minutes of a first start.
    private func cached() -> Finding {
        let counts = Dictionary(grouping: (try? builder.list()) ?? [], by: \.manifest.recipe).mapValues(\.count)
        guard !counts.isEmpty else {
            return Finding(
                subject: "images", state: .note,
                text: "none yet: the first start of a DD/OS builds one, which downloads a kernel and, for a lean one, compiles for minutes",
                remedy: "drover image build \(DDOSConfiguration.leanImage) --for nvme, or whatever the device is, does it before")
        }
        let text = counts.sorted { $0.key < $1.key }.map { "\($0.value) of \($0.key)" }.joined(separator: ", ")
        return Finding(subject: "images", state: .good, text: "\(text) in the cache")
    }
}
