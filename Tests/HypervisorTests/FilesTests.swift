import Foundation
import Testing

@testable import Hypervisor

@Suite struct BackingFileTests {
    @Test func missingFileIsMadeSparseAndAnotherSizeIsRefused() throws {
        let directory = TemporaryDirectory()
        let path = directory.path + "/deep/disk.img"
        let size: UInt64 = 64 << 20
        #expect(try BackingFile.prepare(path: path, size: size, for: .nvme) == BackingFile(path: path, size: size))
        var information = stat()
        #expect(stat(path, &information) == 0)
        #expect(UInt64(information.st_size) == size)
        #expect(information.st_blocks == 0)
        #expect(try BackingFile.prepare(path: path, size: size, for: .ahci).size == size)
        #expect(throws: HypervisorError.self) { try BackingFile.prepare(path: path, size: size * 2, for: .nvme) }
        #expect(stat(path, &information) == 0)
        #expect(UInt64(information.st_size) == size)
    }

    @Test func fileThatCannotFitIsADiskThatIsFull() {
        let directory = TemporaryDirectory()
        let path = directory.path + "/disk.img"
        do {
            _ = try BackingFile.prepare(path: path, size: 8 << 40, for: .nvme)
            Issue.record("8 TiB were promised")
        } catch {
            guard case .diskFull = error else {
                Issue.record("\(error)")
                return
            }
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func sizesThatAModelCannotOfferAreRefused() {
        #expect(DeviceModel.sdhci.objection(toDiskOf: 96 << 20) != nil)
        #expect(DeviceModel.sdhci.objection(toDiskOf: 128 << 20) == nil)
        #expect(DeviceModel.nvme.objection(toDiskOf: (96 << 20) + 1) != nil)
        #expect(DeviceModel.nvme.objection(toDiskOf: 512) != nil)
    }

    @Test func directoryIsNoBackingFile() {
        #expect(throws: HypervisorError.invalidBackingFile(path: "/tmp", reason: "it is not an ordinary file")) {
            try BackingFile.prepare(path: "/tmp", size: 1 << 20, for: .nvme)
        }
    }
}

@Suite struct ConsoleLogTests {
    @Test(arguments: [
        ("a\nb\nc\n", 2, "b\nc\n"), ("a\nb\nc", 2, "b\nc"), ("a\r\nb\r\n", 1, "b\r\n"), ("a\n\n", 1, "\n"), ("a", 3, "a"), ("a\n", 0, ""),
        ("a", 0, ""), ("", 2, ""), ("a\n", -1, ""),
    ])
    func theLastLinesAreAsManyAsAskedFor(text: String, count: Int, last: String) {
        #expect(String(decoding: ConsoleLog.lastLines(count, of: Data(text.utf8)), as: UTF8.self) == last)
    }

    @Test func tailIsTheLastLinesWithoutControlCharacters() throws {
        let directory = TemporaryDirectory()
        try directory.write("one\r\ntwo\r\n\u{1b}[31mthree\u{7}\r\n", to: "log")
        #expect(ConsoleLog.tail(path: directory.path + "/log", lines: 2) == ["two", "[31mthree"])
        #expect(ConsoleLog.tail(path: directory.path + "/none", lines: 2).isEmpty)
    }

    @Test func fileThatGrewTooLargeKeepsItsEnd() throws {
        let directory = TemporaryDirectory()
        try directory.write((0..<1000).map { "line \($0)\n" }.joined(), to: "log")
        let path = directory.path + "/log"
        ConsoleLog.limit(path: path, bytes: 1000)
        #expect(FileManager.default.contents(atPath: path)?.count == 500)
        #expect(ConsoleLog.tail(path: path, lines: 1) == ["line 999"])
        ConsoleLog.limit(path: path, bytes: 1000)
        #expect(FileManager.default.contents(atPath: path)?.count == 500)
    }

    /// Blocks are taken out of the front where the file system can, and the file is written anew where it can't (tmpfs).
    @Test(arguments: [NSTemporaryDirectory(), "/dev/shm/"]) func whatIsPrintedWhileTheFileIsCutStays(place: String) throws {
        let directory = TemporaryDirectory(in: place)
        let path = directory.path + "/log"
        try directory.write("", to: "log")
        let guest = Process()
        guest.executableURL = URL(filePath: "/bin/sh")
        guest.arguments = ["-c", "i=100000; while [ $i -lt 140000 ]; do i=$((i+1)); echo \"line $i\" >> '\(path)'; done"]
        try guest.run()
        while guest.isRunning {
            ConsoleLog.limit(path: path, bytes: 64 << 10)
            usleep(1000)
        }
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let numbers = text.split(separator: "\n").compactMap { $0.hasPrefix("line ") ? Int($0.dropFirst(5)) : nil }
        #expect(numbers.count > 1000)
        // Whether it can: asked of another file.
        try directory.write(String(repeating: "x", count: 128 << 10), to: "other")
        let other = try #require(FileHandle(forUpdatingAtPath: directory.path + "/other"))
        defer { try? other.close() }
        if fallocate(other.fileDescriptor, FALLOC_FL_COLLAPSE_RANGE, 0, 64 << 10) == 0 {
            #expect(numbers == Array((140001 - numbers.count)...140000), "none is missing")
        }
        ConsoleLog.limit(path: path, bytes: 64 << 10)
        #expect(ConsoleLog.size(path) <= 64 << 10)
    }
}

@Suite struct ProcessStatusTests {
    @Test func nameMayHoldAnything() {
        let status = ProcessStatus(line: "12 (a) Z (b) Z 34 6 5")
        #expect(status?.name == "a) Z (b")
        #expect(status?.state == "Z")
        #expect(status?.parent == 34)
        #expect(status?.session == 5)
        #expect(ProcessStatus(line: "12 (a") == nil)
        #expect(ProcessStatus(line: ") 12 (") == nil)
    }
}
