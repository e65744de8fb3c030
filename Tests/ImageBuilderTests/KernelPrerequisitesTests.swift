import Foundation
import Testing

@testable import ImageBuilder

/// What is said to be missing before a kernel is built.
@Suite struct KernelPrerequisitesTests {
    private let programs = ["gcc", "ld", "objcopy", "flex", "bison", "bc", "make", "xz", "tar"]

    private func prerequisites(_ scratch: Scratch, without missing: Set<String> = []) throws -> KernelPrerequisites {
        for name in programs where !missing.contains(name) { try scratch.write("bin/\(name)", [], executable: true) }
        for name in ["libelf.h", "stdio.h"] where !missing.contains(name) { try scratch.write("include/\(name)", []) }
        return KernelPrerequisites(tools: Tools(searchPath: scratch.file("bin")), headers: scratch.file("include"))
    }

    @Test func aMachineThatHasEverythingLacksNothing() throws {
        let scratch = try Scratch()
        #expect(try prerequisites(scratch).missing == [])
    }

    @Test func whatIsMissingIsNamedWithItsPackage() throws {
        let scratch = try Scratch()
        let missing = try prerequisites(scratch, without: ["flex", "objcopy", "libelf.h"]).missing
        #expect(
            missing == [
                Prerequisite(name: "objcopy", package: "binutils"), Prerequisite(name: "flex", package: "flex"),
                Prerequisite(name: "libelf.h", package: "libelf-dev"),
            ])
    }

    @Test func aFurtherKernelTakesLessRoomThanTheFirst() throws {
        let scratch = try Scratch()
        let builder = ImageBuilder(cacheDirectory: scratch.file("cache"), recipesDirectory: scratch.file("Images"))
        let first = builder.roomForLean
        #expect(first >= 2 << 30)
        try scratch.write("cache/sources/0123/linux-source-6.1/Makefile", [])
        #expect(builder.roomForLean < first)
    }
}
