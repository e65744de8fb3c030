import Testing

@testable import ImageBuilder

@Suite struct ImageCacheTests {
    @Test func imagesAreListedAndFoundByTheBeginningOfTheirHash() async throws {
        let archive = try FakeArchive()
        #expect(try archive.builder.list().isEmpty)
        let first = try await archive.build()
        let second = try await archive.build([])
        #expect(try Set(archive.builder.list().map(\.hash)) == [first.hash, second.hash])
        #expect(try archive.builder.inspect(hash: String(first.hash.prefix(12))) == first)
        #expect(throws: ImageError.noSuchImage(hash: "", matches: 0)) { try archive.builder.inspect(hash: "") }
        #expect(throws: ImageError.noSuchImage(hash: "xyz", matches: 0)) { try archive.builder.inspect(hash: "xyz") }
    }

    @Test func pruningKeepsWhatIsNamedAndWhatThatNeeds() async throws {
        let archive = try FakeArchive()
        let old = try await archive.build()
        try archive.publish(version: "9.9.2-1", nvmeContent: "newer")
        let new = try await archive.build()
        let pruned = try archive.builder.prune(keeping: [new.hash])
        #expect(pruned.images == [old.hash])
        #expect(pruned.packages == ["linux-image-\(FakeArchive.release)_9.9.1-1_amd64.deb"])
        #expect(pruned.bytes > 0)
        #expect(try archive.builder.list() == [new])
        #expect(try FileStore.names(in: archive.scratch.file("cache/kernels")) == [new.manifest.package.sha256])
        #expect(try archive.builder.prune().images == [new.hash])
        #expect(try FileStore.names(in: archive.scratch.file("cache/kernels")).isEmpty)
    }

    @Test func pruningWaitsForNoBuilder() async throws {
        let archive = try FakeArchive()
        _ = try await archive.build()
        let lock = try archive.builder.cache.lockNow()
        #expect(throws: ImageError.busy(directory: archive.scratch.file("cache"))) { try archive.builder.prune() }
        withExtendedLifetime(lock) {}
    }

    @Test func pruningNothingIsNoError() throws {
        let scratch = try Scratch()
        let builder = ImageBuilder(cacheDirectory: scratch.file("none"), recipesDirectory: scratch.path)
        #expect(try builder.prune() == PrunedFiles(images: [], packages: [], bytes: 0))
    }

    @Test func theRecipesThereAreAreReadByName() throws {
        let archive = try FakeArchive()
        #expect(try archive.builder.recipes().map(\.name) == ["test"])
    }
}
