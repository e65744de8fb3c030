public import Foundation

/// libvirt's log of a machine: the command line of each life, and whatever QEMU printed on stderr.
public enum EmulatorLog {
    /// The last that QEMU itself said in a life, without the argument that it was about: why it gave up, if it did. Nil: it said nothing.
    public static func lastWords(_ path: String, ofLife uuid: UUID) -> String? {
        let size = size(path)
        let from = size > window ? size - window : 0
        return text(path, from: from).flatMap { lastWords(in: $0, ofLife: uuid) }
    }

    /// Where libvirt keeps it, below the root of an embedded one.
    public static func path(of machine: String, root: String) -> String { EmbeddedRoot(path: root, cache: "").log(of: machine) }

    static func lastWords(in text: String, ofLife uuid: UUID) -> String? {
        // The command line of the life names it.
        guard let life = text.range(of: uuid.uuidString.lowercased(), options: .backwards) else { return nil }
        return words(in: String(text[life.upperBound...])).last.map { ErrorMapping.stripped(ConsoleLog.printable($0)) }
    }

    private static let window: UInt64 = 256 << 10

    static func size(_ path: String) -> UInt64 {
        ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    /// What QEMU itself said since the log had this size: lines without the command line and libvirt's own notes.
    static func words(_ path: String, since offset: UInt64) -> [String] { text(path, from: offset).map { words(in: $0) } ?? [] }

    /// No more than a window of it.
    private static func text(_ path: String, from offset: UInt64) -> String? {
        guard let handle = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? handle.close() }
        guard (try? handle.seek(toOffset: offset)) != nil, let data = try? handle.read(upToCount: Int(window)) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }

    static func words(in text: String) -> [String] {
        text.split(separator: "\n").map(String.init).filter { line in
            guard let start = line.firstRange(of: "qemu-system") else { return false }
            // "TIME qemu-system-x86_64: …" is QEMU; "/usr/bin/qemu-system-x86_64 \" is the command line.
            let before = line[..<start.lowerBound]
            return !before.contains("/") && line[start.upperBound...].prefix(20).contains(":") && !line.contains("terminating on signal")
                && !line.contains("warning:")
        }
    }
}
