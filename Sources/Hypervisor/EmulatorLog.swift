import Foundation

/// libvirt's log of a machine: the command line of each life, and whatever QEMU printed on stderr.
enum EmulatorLog {
    static func size(_ path: String) -> UInt64 {
        ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    /// What QEMU itself said since the log had this size: lines without the command line and libvirt's own notes.
    static func words(_ path: String, since offset: UInt64) -> [String] {
        guard let handle = FileHandle(forReadingAtPath: path) else { return [] }
        defer { try? handle.close() }
        try? handle.seek(toOffset: offset)
        guard let data = try? handle.read(upToCount: 256 << 10) else { return [] }
        return words(in: String(decoding: data, as: UTF8.self))
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
