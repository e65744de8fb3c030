/// Writes a cpio archive in the `newc` format, as the kernel unpacks it into its initramfs
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
///
///     "070701" | 13 fields of 8 hexadecimal digits | name NUL | pad to 4 | data | pad to 4
///
/// The bytes depend on the entries alone: sorted by name, owner 0, time 0, inode numbers counted from 1.
struct CpioArchive {
    private enum Content {
        case directory
        case file([UInt8])
        case characterDevice(major: UInt32, minor: UInt32)
    }

    private struct Entry {
        var permissions: UInt32
        var content: Content
    }

    private var entries: [String: Entry] = [:]

    /// Adds a directory, and those above it.
    mutating func addDirectory(_ path: String, permissions: UInt32 = 0o755) {
        addParents(of: path)
        entries[Self.relative(path)] = Entry(permissions: permissions, content: .directory)
    }

    /// Adds a file, and the directories above it.
    mutating func addFile(_ path: String, permissions: UInt32 = 0o644, _ bytes: [UInt8]) {
        addParents(of: path)
        entries[Self.relative(path)] = Entry(permissions: permissions, content: .file(bytes))
    }

    mutating func addCharacterDevice(_ path: String, permissions: UInt32 = 0o600, major: UInt32, minor: UInt32) {
        addParents(of: path)
        entries[Self.relative(path)] = Entry(permissions: permissions, content: .characterDevice(major: major, minor: minor))
    }

    private mutating func addParents(of path: String) {
        let components = Self.relative(path).split(separator: "/").dropLast()
        for count in components.indices {
            let parent = components[...count].joined(separator: "/")
            if entries[parent] == nil { entries[parent] = Entry(permissions: 0o755, content: .directory) }
        }
    }

    private static func relative(_ path: String) -> String { String(path.drop { $0 == "/" }) }

    /// The archive's bytes.
    func bytes() -> [UInt8] {
        var output: [UInt8] = []
        // By bytes, not by the collation of strings: the same everywhere, and a directory before what is in it.
        let names = entries.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        for (index, name) in names.enumerated() {
            guard let entry = entries[name] else { continue }
            Self.append(name, entry, inode: UInt32(index + 1), to: &output)
        }
        Self.append("TRAILER!!!", Entry(permissions: 0, content: .file([])), inode: 0, isTrailer: true, to: &output)
        return output
    }

    private static func append(
        _ name: String, _ entry: Entry, inode: UInt32, isTrailer: Bool = false, to output: inout [UInt8]
    ) {
        var mode = entry.permissions
        var links: UInt32 = 1
        var data: [UInt8] = []
        var device: (major: UInt32, minor: UInt32) = (0, 0)
        switch entry.content {
        case .directory:
            mode |= 0o040000
            links = 2
        case .file(let bytes):
            mode |= isTrailer ? 0 : 0o100000
            data = bytes
        case .characterDevice(let major, let minor):
            mode |= 0o020000
            device = (major, minor)
        }
        let owner: UInt32 = 0
        let time: UInt32 = 0
        output += Array("070701".utf8)
        for field in [
            inode, mode, owner, owner, links, time, UInt32(data.count), 0, 0, device.major, device.minor,
            UInt32(name.utf8.count + 1), 0,
        ] { output += hexadecimal(field) }
        output += Array(name.utf8)
        output.append(0)
        pad(&output)
        output += data
        pad(&output)
    }

    private static func hexadecimal(_ value: UInt32) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return (0..<8).map { digits[Int(value >> UInt32(28 - 4 * $0) & 15)] }
    }

    private static func pad(_ output: inout [UInt8]) {
        while output.count % 4 != 0 { output.append(0) }
    }
}
