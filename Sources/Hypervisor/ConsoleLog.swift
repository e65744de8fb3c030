public import Foundation

/// The file that holds what a guest printed on its serial console. A guest wrote it: any bytes, any amount.
public enum ConsoleLog {
    /// How much of the end is looked at for a tail.
    private static let window: UInt64 = 256 << 10

    /// The last `lines` lines; empty when there is no such file. Control characters other than tab are taken out, so that a guest
    /// cannot drive the terminal of whoever reads it; lines are cut at 1000 characters.
    public static func tail(path: String, lines: Int) -> [String] {
        guard let data = end(of: path, bytes: window) else { return [] }
        let text = String(decoding: data, as: UTF8.self)
        let all = text.split(whereSeparator: \.isNewline).map { line in printable(line) }.filter { !$0.isEmpty }
        return Array(all.suffix(max(0, lines)))
    }

    /// The last `count` lines as they are. A line that is still being written, with no line feed yet, is one of them.
    public static func lastLines(_ count: Int, of data: Data) -> Data {
        let feed = UInt8(ascii: "\n")
        let lines = data.split(separator: feed, omittingEmptySubsequences: false)
        // Behind the last line feed is nothing, which is no line.
        return Data(lines.suffix(max(0, count) + (data.last == feed ? 1 : 0)).joined(separator: [feed]))
    }

    /// Keeps the file from filling the host's disk: when it is larger than `bytes`, its older part goes, and the last half of that stays.
    ///
    /// The VMM appends (O_APPEND), so cutting the file under it is safe. Where the file system can take blocks out of the front (ext4, XFS)
    /// nothing of what it prints meanwhile is lost; elsewhere (tmpfs) that holds but for the moment between two system calls.
    public static func limit(path: String, bytes: UInt64) {
        guard let handle = FileHandle(forUpdatingAtPath: path) else { return }
        defer { try? handle.close() }
        guard var size = try? handle.seekToEnd(), size > bytes else { return }
        if takeFront(handle, size: size, bytes: bytes) { return }
        var kept: Data?
        // Read again as long as it grows meanwhile; who prints without a pause is not waited for.
        for _ in 0..<10 {
            kept = end(of: path, bytes: bytes / 2)
            guard let now = try? handle.seekToEnd(), now > size else { break }
            size = now
        }
        guard let kept else { return }
        // Behind what came in between, and not over it.
        _ = fcntl(handle.fileDescriptor, F_SETFL, O_APPEND)
        try? handle.truncate(atOffset: 0)
        try? handle.write(contentsOf: kept)
    }

    /// fallocate(2), FALLOC_FL_COLLAPSE_RANGE: whole blocks only. False: this file system does not do it, or a block is too much.
    private static func takeFront(_ handle: FileHandle, size: UInt64, bytes: UInt64) -> Bool {
        var found = stat()
        guard fstat(handle.fileDescriptor, &found) == 0, found.st_blksize > 0 else { return false }
        let block = UInt64(found.st_blksize)
        let front = (size - bytes / 2) / block * block
        guard front > 0, block <= bytes / 2 else { return false }
        return fallocate(handle.fileDescriptor, FALLOC_FL_COLLAPSE_RANGE, 0, Int(front)) == 0
    }

    /// Bytes; 0 when there is no such file.
    static func size(_ path: String) -> UInt64 {
        ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    /// Whether the guest has printed this since the file had `offset` bytes. Looks at the first 256 KiB of it.
    static func contains(_ words: String, path: String, from offset: UInt64) -> Bool {
        guard let handle = FileHandle(forReadingAtPath: path) else { return false }
        defer { try? handle.close() }
        guard (try? handle.seek(toOffset: offset)) != nil, let data = try? handle.read(upToCount: Int(window)) else { return false }
        return data.firstRange(of: Data(words.utf8)) != nil
    }

    static func printable(_ line: some StringProtocol) -> String {
        var result = ""
        for scalar in line.unicodeScalars.prefix(1000) where isHarmless(scalar) { result.unicodeScalars.append(scalar) }
        return result
    }

    /// Whether a terminal only shows it.
    fileprivate static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value == 9 || scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
    }

    /// What a guest wrote, made fit for a terminal piece by piece: without control characters other than tab and line feed.
    public struct TerminalFilter: Sendable {
        /// The beginning of a character whose end is in the next piece.
        private var pending = Data()

        public init() {}

        public mutating func take(_ bytes: Data) -> Data {
            let all = pending + bytes
            let whole = all.count - Self.unfinished(all)
            pending = Data(all.suffix(all.count - whole))
            var text = ""
            for scalar in String(decoding: all.prefix(whole), as: UTF8.self).unicodeScalars
            where scalar == "\n" || ConsoleLog.isHarmless(scalar) { text.unicodeScalars.append(scalar) }
            return Data(text.utf8)
        }

        /// How many bytes at the end may be the beginning of a character.
        private static func unfinished(_ bytes: Data) -> Int {
            for (place, byte) in bytes.suffix(3).reversed().enumerated() where byte & 0xC0 != 0x80 {
                let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
                return length > place + 1 ? place + 1 : 0
            }
            return 0
        }
    }

    private static func end(of path: String, bytes: UInt64) -> Data? {
        guard let handle = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? handle.close() }
        guard let size = try? handle.seekToEnd() else { return nil }
        try? handle.seek(toOffset: size > bytes ? size - bytes : 0)
        return try? handle.read(upToCount: Int(bytes))
    }
}
