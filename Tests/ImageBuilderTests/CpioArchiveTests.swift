import Foundation
import Testing

@testable import ImageBuilder

@Suite struct CpioArchiveTests {
    private var sample: CpioArchive {
        var archive = CpioArchive()
        archive.addFile("/lib/modules/x/a.ko", Array("module".utf8))
        archive.addFile("init", permissions: 0o755, Array("program!".utf8))
        archive.addDirectory("/proc")
        archive.addCharacterDevice("/dev/console", major: 5, minor: 1)
        return archive
    }

    @Test func theBytesAreTheFormats() {
        var archive = CpioArchive()
        archive.addFile("/a", [UInt8(ascii: "x")])
        let expected =
            "070701" + "00000001" + "000081a4" + "00000000" + "00000000" + "00000001" + "00000000" + "00000001" + "00000000"
            + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "a\0" + "x\0\0\0"
            + "070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000"
            + "00000000" + "00000000" + "00000000" + "0000000b" + "00000000" + "TRAILER!!!\0" + "\0\0\0"
        #expect(String(decoding: archive.bytes(), as: UTF8.self) == expected)
    }

    @Test func theBytesStayWhatTheyAre() async throws {
        let digest = try await Tools(searchPath: "/usr/bin:/bin").digest(of: sample.bytes())
        #expect(digest == "b3ea29c5ee2bb452fe51abf45146e8b93acdc0759bcb1671c3869356bb448f78")
    }

    @Test func theOrderOfAddingDoesNotMatter() {
        var other = CpioArchive()
        other.addCharacterDevice("/dev/console", major: 5, minor: 1)
        other.addDirectory("/proc")
        other.addFile("/init", permissions: 0o755, Array("program!".utf8))
        other.addFile("lib/modules/x/a.ko", Array("module".utf8))
        #expect(other.bytes() == sample.bytes())
    }

    @Test func cpioReadsIt() throws {
        let scratch = try Scratch()
        let path = try scratch.write("sample.cpio", sample.bytes())
        let names = try FakeArchive.run("/bin/sh", ["-c", "cpio -it --quiet <'\(path)'"])
        #expect(
            names.split(separator: "\n")
                == ["dev", "dev/console", "init", "lib", "lib/modules", "lib/modules/x", "lib/modules/x/a.ko", "proc"])
        let verbose = try FakeArchive.run("/bin/sh", ["-c", "TZ=UTC cpio -itv --quiet <'\(path)'"])
        #expect(verbose.contains("crw-------"))
        #expect(verbose.contains("-rwxr-xr-x   1 root     root            8 Jan  1  1970 init"))
    }
}
