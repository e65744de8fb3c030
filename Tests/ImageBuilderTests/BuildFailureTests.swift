import Foundation
import Testing

@testable import ImageBuilder

/// What goes wrong, what is said of it, and that nothing is left of it.
@Suite struct BuildFailureTests {
    private func failure(_ archive: FakeArchive, _ modaliases: [String] = [FakeArchive.nvme], extraModules: [String] = []) async throws
        -> ImageError
    {
        let error = await #expect(throws: ImageError.self) { try await archive.build(modaliases, extraModules: extraModules) }
        #expect(try archive.leftovers().isEmpty)
        return try #require(error)
    }

    @Test func aPackageThatIsNotWhatTheIndexPromisesIsRefused() async throws {
        let archive = try FakeArchive()
        var bytes = archive.deb
        bytes[bytes.count / 2] ^= 1
        try archive.setDownload(bytes)
        guard case .packageCorrupted = try await failure(archive) else {
            Issue.record("another error")
            return
        }
        #expect(try FileStore.names(in: archive.scratch.file("cache/packages")) == ["resolved.json"])
    }

    @Test func aDamagedPackageInTheCacheIsFetchedAnew() async throws {
        let archive = try FakeArchive()
        try archive.scratch.write("cache/packages/linux-image-\(FakeArchive.release)_9.9.1-1_amd64.deb", [1, 2, 3])
        _ = try await archive.build()
        #expect(
            try FileStore.read(archive.scratch.file("cache/packages/linux-image-\(FakeArchive.release)_9.9.1-1_amd64.deb"))
                == archive.deb)
    }

    @Test func noNetworkIsSaid() async throws {
        let archive = try FakeArchive()
        try archive.setDownload(nil)
        let error = try await failure(archive)
        #expect(
            error
                == .downloadFailed(
                    package: "linux-image-\(FakeArchive.release)",
                    detail: "Failed to fetch http://example.invalid/x.deb  Could not resolve"))
        #expect(error.description.contains("network"))
    }

    @Test func anUnknownPackageIsSaidTogetherWithWhatToDo() async throws {
        let archive = try FakeArchive()
        try archive.removeIndex()
        let error = try await failure(archive)
        #expect(error == .packageNotFound(name: "linux-image-test"))
        #expect(error.description.contains("apt-get update"))
    }

    @Test func anUnknownRecipeComesWithThoseThereAre() async throws {
        let archive = try FakeArchive()
        let stub = try archive.scratch.serverStub()
        let error = await #expect(throws: ImageError.self) {
            try await archive.builder.build(recipe: "../test", modaliases: [], serverStub: stub)
        }
        #expect(error == .noSuchRecipe(name: "../test", directory: archive.scratch.file("Images"), known: ["test"]))
        #expect(error?.isNotFound == true)
    }

    @Test func aDeviceWithoutADriverIsNamed() async throws {
        let archive = try FakeArchive()
        #expect(try await failure(archive, ["pci:v1"]) == .noDriver(modalias: "pci:v1", kernelRelease: FakeArchive.release))
    }

    @Test func aModuleThatIsNotThereIsNamed() async throws {
        let archive = try FakeArchive()
        #expect(
            try await failure(archive, extraModules: ["warp"]) == .noSuchModule(name: "warp", kernelRelease: FakeArchive.release))
    }

    @Test func aKernelWithoutPVHIsRefused() async throws {
        let archive = try FakeArchive()
        try archive.publish(version: "2", kernel: try archive.bzImage(compression: "xz", payload: Scratch.executable(notes: [])))
        guard case .badKernel(_, let problem) = try await failure(archive) else {
            Issue.record("another error")
            return
        }
        #expect(problem.contains("PVH"))
        #expect(try FileStore.names(in: archive.scratch.file("cache/kernels")).isEmpty)
    }

    @Test(arguments: [[], [0x7f, 0x45], Scratch.executable(notes: [], interpreter: true)] as [[UInt8]])
    func aServerStubThatCannotRunInTheGuestIsRefused(_ bytes: [UInt8]) async throws {
        let archive = try FakeArchive()
        let path = try archive.scratch.write("bad", bytes)
        let error = await #expect(throws: ImageError.self) {
            try await archive.builder.build(recipe: "test", modaliases: [], serverStub: path)
        }
        guard case .badServerStub(path, _) = error else {
            Issue.record("another error")
            return
        }
    }

    @Test func aMissingProgramComesWithItsPackage() async throws {
        let archive = try FakeArchive()
        let builder = ImageBuilder(
            cacheDirectory: archive.scratch.file("cache"), recipesDirectory: archive.scratch.file("Images"), searchPath: "/nonexistent")
        let stub = try archive.scratch.serverStub()
        let error = await #expect(throws: ImageError.self) {
            try await builder.build(recipe: "test", modaliases: [], serverStub: stub)
        }
        #expect(error == .programMissing(program: "apt-cache", package: "apt"))
    }

    @Test func aCancelledBuildEndsAndLeavesNothing() async throws {
        let archive = try FakeArchive()
        try archive.scratch.write("slow", [])
        let builder = archive.builder
        let stub = try archive.scratch.serverStub()
        let (steps, continuation) = AsyncStream.makeStream(of: ImageProgress.self)
        let build = Task {
            try await builder.build(recipe: "test", modaliases: [FakeArchive.nvme], serverStub: stub) { continuation.yield($0) }
        }
        for await step in steps {
            if case .downloading = step { break }
        }
        build.cancel()
        await #expect(throws: ImageError.cancelled) { try await build.value }
        #expect(try archive.leftovers().isEmpty)
    }

    @Test func whatAKilledBuilderLeftIsRemovedByTheNext() async throws {
        let archive = try FakeArchive()
        try archive.scratch.write("cache/building/image/vmlinux", [1])
        let image = try await archive.build()
        #expect(try archive.leftovers() == [image.hash])
    }

    @Test func aWriteWithoutSpaceSaysSo() {
        #expect(throws: ImageError.diskFull(path: "/dev/full")) { try FileStore.write([1], to: "/dev/full") }
    }
}
