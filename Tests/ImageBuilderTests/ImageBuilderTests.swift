import Foundation
import Synchronization
import Testing

@testable import ImageBuilder

/// The whole of building, with an archive of one small package.
@Suite struct ImageBuilderTests {
    @Test func anImageHoldsKernelStubAndModulesInLoadOrder() async throws {
        let archive = try FakeArchive()
        let image = try await archive.build()
        #expect(image.manifest.kernelRelease == FakeArchive.release)
        #expect(image.manifest.package.name == "linux-image-\(FakeArchive.release)")
        #expect(image.manifest.package.version == "9.9.1-1")
        #expect(image.manifest.commandLine == "quiet")
        #expect(image.manifest.modules.map(\.name) == ["base", "nvme_core", "nvme"])
        #expect(image.manifest.modules.map(\.parameters) == ["a=1", "", ""])
        #expect(image.manifest.modaliases.map(\.modules) == [["nvme"]])
        #expect(try ExecutableFormat(untrustedFile: image.kernel)?.hasPVHEntry == true)

        let unpacked = archive.scratch.file("unpacked")
        try FileManager.default.createDirectory(atPath: unpacked, withIntermediateDirectories: true)
        try FakeArchive.run("/bin/sh", ["-c", "cd '\(unpacked)' && zstd -dcq '\(image.initrd)' | cpio -id --quiet"])
        let modules = "/lib/modules/\(FakeArchive.release)/kernel"
        let list = String(decoding: try FileStore.read("\(unpacked)/etc/drover/modules"), as: UTF8.self)
        #expect(list == "\(modules)/base.ko a=1\n\(modules)/nvme-core.ko\n\(modules)/nvme.ko\n")
        #expect(try FileStore.read("\(unpacked)\(modules)/nvme.ko") == Array("nvme module".utf8))
        #expect(try FileStore.read("\(unpacked)/init") == FileStore.read(try archive.scratch.serverStub()))
        for directory in ["proc", "sys", "dev", "run"] { #expect(FileStore.exists("\(unpacked)/\(directory)")) }
    }

    @Test(arguments: ["xz", "zstd", "gzip"])
    func theKernelIsFoundHoweverItIsCompressed(_ compression: String) async throws {
        let archive = try FakeArchive()
        try archive.publish(version: "1", compression: compression)
        let image = try await archive.build()
        #expect(try FileStore.read(image.kernel) == Scratch.executable(notes: Scratch.pvhNote) + Array("kernel".utf8))
    }

    @Test func twoBuildsAreTheSameByteForByte() async throws {
        let archive = try FakeArchive()
        let first = try await archive.build()
        let files = ["vmlinux", "initrd", "manifest.json"].map { "\(FileStore.directory(of: first.kernel))/\($0)" }
        let bytes = try files.map { try FileStore.read($0) }
        FileStore.remove(archive.scratch.file("cache"))
        let second = try await archive.build()
        #expect(second.hash == first.hash)
        #expect(try files.map { try FileStore.read($0) } == bytes)
    }

    @Test func theSecondTimeItComesFromTheCacheWithoutApt() async throws {
        let archive = try FakeArchive()
        let first = try await archive.build()
        let runs = try archive.aptRuns()
        let steps = Mutex<[ImageProgress]>([])
        let second = try await archive.build { step in steps.withLock { $0.append(step) } }
        #expect(second == first)
        #expect(steps.withLock { $0 } == [.cached(hash: first.hash)])
        #expect(try archive.aptRuns() == runs)
    }

    @Test func everyInputThatChangesMakesAnotherImage() async throws {
        let archive = try FakeArchive()
        var hashes = [try await archive.build().hash]
        hashes.append(try await archive.build(extraModules: ["nvme-core x=2"]).hash)
        hashes.append(try await archive.build([]).hash)
        let other = try archive.scratch.write("other", Scratch.executable(notes: []) + [1])
        hashes.append(
            try await archive.builder.build(recipe: "test", modaliases: [FakeArchive.nvme], serverStub: other).hash)
        try archive.writeRecipe("kind: stock\npackage: linux-image-test\ncommandLine: other\n")
        hashes.append(try await archive.build().hash)
        try archive.writeRecipe()
        try archive.publish(version: "9.9.2-1", nvmeContent: "newer")
        hashes.append(try await archive.build().hash)
        #expect(Set(hashes).count == hashes.count)
    }

    @Test func aCommentInTheRecipeChangesNothing() async throws {
        let archive = try FakeArchive()
        let first = try await archive.build()
        try archive.writeRecipe("# new\nkind: stock\ndescription: y\npackage: linux-image-test\nmodules: [base a=1]\ncommandLine: quiet\n")
        #expect(try await archive.build().hash == first.hash)
    }

    @Test func aCachedPackageNeedsNoNetworkAndNoIndex() async throws {
        let archive = try FakeArchive()
        _ = try await archive.build()
        try archive.setDownload(nil)
        try archive.removeIndex()
        #expect(try await archive.build([]).manifest.package.version == "9.9.1-1")
    }

    @Test func concurrentBuildersMakeOneImage() async throws {
        let archive = try FakeArchive()
        let stub = try archive.scratch.serverStub()
        let builder = archive.builder
        let images = try await withThrowingTaskGroup(of: BuiltImage.self) { group in
            for _ in 0..<4 {
                group.addTask { try await builder.build(recipe: "test", modaliases: [FakeArchive.nvme], serverStub: stub) }
            }
            return try await group.reduce(into: [BuiltImage]()) { $0.append($1) }
        }
        #expect(Set(images.map(\.hash)).count == 1)
        #expect(try archive.leftovers() == [images[0].hash])
    }

    @Test func aDamagedImageIsBuiltAnew() async throws {
        let archive = try FakeArchive()
        let first = try await archive.build()
        let good = try FileStore.read(first.initrd)
        try FileStore.write(Array(good.dropLast()), to: first.initrd)
        #expect(try FileStore.read(try await archive.build().initrd) == good)
    }
}
