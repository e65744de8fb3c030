import DroverConfiguration
import ImageBuilder

/// How much RAM a guest gets, and how much of it is the pool: what the configuration says; where it says nothing, what the image takes.
struct GuestMemory: Sendable, Equatable {
    var memoryMiB: Int
    var poolMiB: Int
    /// What the image takes with this pool, if that is more than the guest gets: a boot that fails may fail of it.
    var lackingOf: Int?

    init(_ configuration: DDOSConfiguration, _ manifest: ImageManifest?) {
        let image = manifest?.memoryMiB
        let imagePool = manifest?.poolMiB
        let pool = configuration.pool.mebibytes
        poolMiB = configuration.poolIsGiven ? pool : min(imagePool ?? pool, pool)
        memoryMiB = configuration.memory.mebibytes
        // What the image takes was found with the pool that it names.
        let needed = image.map { [poolMiB] in $0 + max(0, poolMiB - (imagePool ?? pool)) }
        if !configuration.memoryIsGiven, let needed {
            memoryMiB = needed
        } else if configuration.memoryIsGiven, let manifest, manifest.recipe != configuration.image {
            // The device made another image of it than the one that the configuration's figure was meant for.
            memoryMiB = max(memoryMiB, image ?? Self.stock)
        }
        if let needed, memoryMiB < needed { lackingOf = needed }
        // In little memory a pool that nobody named leaves the kernel what it needs. Huge pages have 2 MiB.
        if !configuration.poolIsGiven { poolMiB = min(poolMiB, (memoryMiB - DDOSConfiguration.leastBesidePool.mebibytes) & ~1) }
    }

    /// Said of a boot that failed; nil: the memory is as much as the image takes.
    var hint: String? {
        lackingOf.map { "its memory, \(memoryMiB) MiB, is less than the \($0) MiB that its image takes: raise 'memory', or leave it out" }
    }

    /// What a stock kernel boots in, with room for any driver.
    static let stock = 128
}
