import Foundation
import Synchronization
import Testing

@testable import ImageBuilder

/// The whole of building a lean image, with a source of no size and a make that is a script.
@Suite struct LeanImageTests {
    private func archive() throws -> FakeArchive {
        let archive = try FakeArchive()
        try archive.publishSource()
        try archive.setDownload(nil)
        try archive.serveBoth()
        try archive.scratch.write("elf", Scratch.executable(notes: Scratch.pvhNote))
        return archive
    }

    @Test func anImageHoldsTheKernelOfItsFragmentsAndNoModules() async throws {
        let archive = try archive()
        let image = try await archive.buildLean()
        let lean = try #require(image.manifest.lean)
        #expect(lean.fragments == ["nvme"])
        #expect(image.manifest.kernelRelease == "9.9.1")
        #expect(image.manifest.package.name == "linux-source-9")
        #expect(image.manifest.modules.isEmpty)
        #expect(image.manifest.memoryMiB == 32 && image.manifest.poolMiB == 8)
        #expect(image.manifest.modaliases == [.init(modalias: FakeArchive.nvme, modules: [], builtin: ["nvme"])])
        let kernel = String(decoding: try FileStore.read(image.kernel), as: UTF8.self)
        #expect(kernel.contains("CONFIG_BASE=y") && kernel.contains("CONFIG_NVME=y") && !kernel.contains("CONFIG_OTHER"))
        let configuration = try FileStore.read("\(FileStore.directory(of: image.kernel))/config")
        #expect(String(decoding: configuration, as: UTF8.self).contains("CONFIG_IMPLIED=y"))
        #expect(!lean.compiler.isEmpty)
        let list = try FakeArchive.run("/bin/sh", ["-c", "cpio -it --quiet <'\(image.initrd)'"])
        #expect(!list.contains(".ko"))
    }

    @Test func devicesThatNeedTheSameFragmentsShareOneKernel() async throws {
        let archive = try archive()
        let first = try await archive.buildLean()
        let second = try await archive.buildLean([])
        #expect(try archive.compilations() == 2)
        #expect(first.manifest.lean?.kernel != second.manifest.lean?.kernel)
        let third = try await archive.buildLean([FakeArchive.nvme], extraModules: ["base"])
        #expect(third.hash != first.hash)
        #expect(third.manifest.lean?.kernel == first.manifest.lean?.kernel)
        #expect(try archive.compilations() == 2)
    }

    @Test func twoBuildsAreTheSameByteForByte() async throws {
        let archive = try archive()
        let first = try await archive.buildLean()
        let files = ["vmlinux", "initrd", "config", "manifest.json"].map { "\(FileStore.directory(of: first.kernel))/\($0)" }
        let bytes = try files.map { try FileStore.read($0) }
        FileStore.remove(archive.scratch.file("cache"))
        let second = try await archive.buildLean()
        #expect(second.hash == first.hash)
        #expect(try files.map { try FileStore.read($0) } == bytes)
    }

    @Test func theSecondTimeItComesFromTheCache() async throws {
        let archive = try archive()
        let first = try await archive.buildLean()
        let steps = Mutex<[ImageProgress]>([])
        #expect(try await archive.buildLean { step in steps.withLock { $0.append(step) } } == first)
        #expect(steps.withLock { $0 } == [.cached(hash: first.hash)])
    }

    @Test func anOptionOfAFragmentMakesAnotherImageAndACommentDoesNot() async throws {
        let archive = try archive()
        let first = try await archive.buildLean()
        try archive.scratch.write("Images/lean/nvme.config", Array("# Why.\nCONFIG_NVME=y\n".utf8))
        #expect(try await archive.buildLean().hash == first.hash)
        try archive.scratch.write("Images/lean/nvme.config", Array("CONFIG_NVME=y\nCONFIG_MORE=y\n".utf8))
        #expect(try await archive.buildLean().hash != first.hash)
    }

    @Test func anOptionThatDidNotEndUpSetIsNamed() async throws {
        let archive = try archive()
        try archive.scratch.write("Images/lean/nvme.config", Array("CONFIG_NVME=y\nCONFIG_IMPOSSIBLE=y\n".utf8))
        let error = await #expect(throws: ImageError.self) { try await archive.buildLean() }
        #expect(error == .optionsNotSet(package: "linux-source-9", options: ["CONFIG_IMPOSSIBLE=y (it is n)"]))
        #expect(try archive.compilations() == 0)
        #expect(try archive.leftovers().isEmpty)
    }

    @Test func aDeviceThatNoFragmentCoversGetsTheStockImageAndIsToldSo() async throws {
        let archive = try archive()
        let steps = Mutex<[ImageProgress]>([])
        let image = try await archive.buildLean(extraModules: ["nvme-core"]) { step in steps.withLock { $0.append(step) } }
        #expect(image.manifest.recipe == "test" && image.manifest.lean == nil)
        #expect(image.manifest.modules.map(\.name) == ["base", "nvme_core", "nvme"])
        #expect(steps.withLock { $0 }.contains(.fallingBack(device: "\(FakeArchive.nvme), nvme-core", recipe: "test")))
        #expect(try archive.compilations() == 0)
    }

    @Test func firmwareIsPutWhereDriversAskForItAndItsAbsenceIsSaid() async throws {
        let archive = try archive()
        let error = await #expect(throws: ImageError.self) { try await archive.buildLean(["pci:v0000AAAAd1"]) }
        #expect(error == .firmwareMissing(file: "acme/card.bin", path: archive.scratch.file("firmware/acme/card.bin")))
        try archive.scratch.write("firmware/acme/card.bin", [1, 2, 3])
        let image = try await archive.buildLean(["pci:v0000AAAAd1"])
        let list = try FakeArchive.run("/bin/sh", ["-c", "cpio -it --quiet <'\(image.initrd)'"])
        #expect(list.contains("lib/firmware/acme/card.bin"))
        #expect(image.manifest.memoryMiB == 40 && image.manifest.poolMiB == 8)
        try archive.scratch.write("firmware/acme/card.bin", [4])
        #expect(try await archive.buildLean(["pci:v0000AAAAd1"]).hash != image.hash)
    }

    @Test func aSourceThatIsNotTheOnePinnedIsRefused() async throws {
        let archive = try archive()
        try archive.writeLeanRecipe("version: 9.9.1-1\nsha256: \(LeanRecipeTests.digest)")
        let error = await #expect(throws: ImageError.self) { try await archive.buildLean() }
        guard case .packageCorrupted("linux-source-9", _, _, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func whatTheCompilerSaidIsSaid() async throws {
        let archive = try archive()
        try archive.scratch.write("broken-make", [])
        let error = await #expect(throws: ImageError.self) { try await archive.buildLean() }
        #expect(error?.description.contains("x.c:1: error: no such thing") == true)
        #expect(try archive.leftovers().isEmpty)
    }

    @Test func aBuildThatWasKilledLeavesNoObjectsToTheNext() async throws {
        let archive = try archive()
        let image = try await archive.buildLean()
        let objects = archive.scratch.file("cache/objects/\(image.manifest.package.sha256)")
        #expect(FileStore.exists("\(objects)/vmlinux"))
        try archive.scratch.write("cache/objects/\(image.manifest.package.sha256)/.drover-unfinished", [])
        try archive.scratch.write("cache/objects/\(image.manifest.package.sha256)/half.o", [1])
        _ = try await archive.buildLean([])
        #expect(!FileStore.exists("\(objects)/half.o") && !FileStore.exists("\(objects)/.drover-unfinished"))
    }

    @Test func aCancelledCompilationEndsWithItsProcesses() async throws {
        let archive = try archive()
        try archive.scratch.write("slow-make", [])
        let (builder, stub) = (archive.leanBuilder, try archive.scratch.serverStub())
        let build = Task { try await builder.build(recipe: "lean-test", modaliases: [FakeArchive.nvme], serverStub: stub) }
        // The script writes its process first of all; then it sleeps for five minutes.
        let deadline = ContinuousClock.now + .seconds(120)
        while FileStore.size(archive.scratch.file("make-pid")) ?? 0 == 0, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        build.cancel()
        await #expect(throws: ImageError.cancelled) { try await build.value }
        #expect(try archive.leftovers().isEmpty)
        let text = String(decoding: try FileStore.read(archive.scratch.file("make-pid")), as: UTF8.self)
        let pid = try #require(Int32(text.filter(\.isNumber)))
        #expect(kill(pid, 0) != 0 && errno == ESRCH)
    }

    @Test func pruningKeepsTheKernelOfAKeptImageAndNoSource() async throws {
        let archive = try archive()
        let image = try await archive.buildLean()
        _ = try await archive.buildLean([])
        try archive.builder.prune(keeping: [image.hash])
        #expect(try FileStore.names(in: archive.scratch.file("cache/kernels")) == [image.manifest.lean?.kernel])
        #expect(!FileStore.exists(archive.scratch.file("cache/sources")) && !FileStore.exists(archive.scratch.file("cache/objects")))
        #expect(try archive.builder.list() == [image])
    }
}
