import DroverConfiguration
import ImageBuilder

/// How much RAM a guest gets, and how much of it is the pool: what the configuration says; where it says nothing, what the image takes.
struct GuestMemory: Sendable, Equatable {
    var memoryMiB: Int
    var poolMiB: Int

    init(_ configuration: DDOSConfiguration, _ manifest: ImageManifest?) {
        let image = manifest?.memoryMiB
        let imagePool = manifest?.poolMiB
        let pool = configuration.pool.mebibytes
        poolMiB = configuration.poolIsGiven ? pool : min(imagePool ?? pool, pool)
        memoryMiB = configuration.memory.mebibytes
        if !configuration.memoryIsGiven, let image {
            // What the image takes was found with the pool that it names.
            memoryMiB = image + max(0, poolMiB - (imagePool ?? pool))
        } else if configuration.memoryIsGiven, let manifest, manifest.recipe != configuration.image {
            // The device made another image of it than the one that the configuration's figure was meant for.
            memoryMiB = max(memoryMiB, image ?? Self.stock)
        }
        // In little memory a pool that nobody named leaves the kernel what it needs. Huge pages have 2 MiB.
        if !configuration.poolIsGiven { poolMiB = min(poolMiB, (memoryMiB - DDOSConfiguration.leastBesidePool.mebibytes) & ~1) }
    }

    /// What a stock kernel boots in, with room for any driver.
    static let stock = 128
}
