import DroverConfiguration
import ImageBuilder
import Testing

@testable import Supervision

@Suite struct GuestMemoryTests {
    private func configuration(_ change: (inout DDOSConfiguration) -> Void = { _ in }) -> DDOSConfiguration {
        var configuration = DDOSConfiguration(name: "a", device: .pci(address: "0000:01:00.0"))
        configuration.image = "lean-6.1"
        change(&configuration)
        return configuration
    }

    private func manifest(_ recipe: String, memory: Int? = nil, pool: Int? = nil) -> ImageManifest {
        let file = ImageFile(sha256: "", size: 0)
        var manifest = ImageManifest(
            formatVersion: 1, hash: "", recipe: recipe, kernelRelease: "6.1",
            package: KernelPackage(name: "", version: "", architecture: "", sha256: "", size: 0), commandLine: "", vmlinux: file,
            initrd: file, serverStub: file, modules: [], modaliases: [])
        (manifest.memoryMiB, manifest.poolMiB) = (memory, pool)
        return manifest
    }

    @Test func anImageThatSaysNothingLeavesTheDefaults() {
        #expect(GuestMemory(configuration(), manifest("lean-6.1")) == GuestMemory(configuration(), nil))
        #expect(GuestMemory(configuration(), nil).memoryMiB == 128 && GuestMemory(configuration(), nil).poolMiB == 16)
    }

    @Test func whatTheConfigurationLeavesOpenIsTheImages() {
        let memory = GuestMemory(configuration(), manifest("lean-6.1", memory: 32, pool: 8))
        #expect(memory.memoryMiB == 32 && memory.poolMiB == 8)
    }

    @Test func whatTheConfigurationSaysIsDone() {
        let asked = configuration {
            $0.memory = .mebibytes(64)
            $0.pool = .mebibytes(4)
        }
        let memory = GuestMemory(asked, manifest("lean-6.1", memory: 32, pool: 8))
        #expect(memory.memoryMiB == 64 && memory.poolMiB == 4)
    }

    @Test func aLargerPoolComesOnTopOfWhatTheImageTakes() {
        let memory = GuestMemory(configuration { $0.pool = .mebibytes(20) }, manifest("lean-6.1", memory: 32, pool: 8))
        #expect(memory.memoryMiB == 44 && memory.poolMiB == 20)
    }

    @Test func aStockKernelInPlaceOfALeanOneGetsTheMemoryToBoot() {
        let small = configuration { $0.memory = .mebibytes(32) }
        #expect(GuestMemory(small, manifest("debian-6.1")).memoryMiB == 128)
        #expect(GuestMemory(small, manifest("lean-6.1", memory: 32, pool: 8)).memoryMiB == 32)
        #expect(GuestMemory(configuration { $0.memory = .mebibytes(256) }, manifest("debian-6.1")).memoryMiB == 256)
    }

    @Test func lessThanTheImageTakesIsKnown() {
        let image = manifest("lean-6.1", memory: 32, pool: 8)
        let small = configuration { $0.memory = .mebibytes(28) }
        #expect(
            GuestMemory(small, image).hint
                == "its memory, 28 MiB, is less than the 32 MiB that its image takes: raise 'memory', or leave it out")
        let full = configuration {
            $0.memory = .mebibytes(40)
            $0.pool = .mebibytes(20)
        }
        #expect(GuestMemory(full, image).hint?.contains("40 MiB, is less than the 44 MiB") == true)
        #expect(GuestMemory(configuration { $0.memory = .mebibytes(32) }, image).hint == nil)
        #expect(GuestMemory(configuration(), image).hint == nil && GuestMemory(small, nil).hint == nil)
    }

    @Test(arguments: [(24, 8), (29, 12), (31, 14), (32, 16), (64, 16)])
    func aPoolThatNobodyNamedLeavesTheKernelItsRoom(memory: Int64, pool: Int) {
        #expect(GuestMemory(configuration { $0.memory = .mebibytes(memory) }, manifest("lean-6.1")).poolMiB == pool)
        #expect(GuestMemory(configuration { $0.memory = .mebibytes(memory) }, manifest("lean-6.1", memory: 32, pool: 8)).poolMiB == 8)
    }

    @Test func aNetworkDDOSHasNoPool() {
        let network = configuration { $0.pool = ByteSize(bytes: 0) }
        #expect(GuestMemory(network, manifest("lean-6.1", memory: 32, pool: 8)).poolMiB == 0)
    }
}
