/// What an ELF file says about itself, as far as booting depends on it.
struct ExecutableFormat: Equatable {
    /// Segments with a dynamic linker's name: the program isn't static.
    var hasInterpreter = false
    /// The note XEN_ELFNOTE_PHYS32_ENTRY: the file boots by PVH (QEMU's `-kernel` with an ELF file).
    var hasPVHEntry = false

    private static let noteType: UInt32 = 18

    /// Reads the headers of a 64-bit x86 file. Nil for anything else.
    ///
    ///     ELF header: 0x12 machine (62)  0x20 offset of program headers  0x36 size of one  0x38 their number
    ///     program header: 0 type (3 interpreter, 4 note)  8 offset  32 size in the file
    init?(untrustedFile path: String) throws(ImageError) {
        let header = try FileStore.read(path, offset: 0, count: 64)
        guard header.count == 64, Array(header[0..<6]) == [0x7f, 0x45, 0x4c, 0x46, 2, 1], Self.number(header, 0x12, 2) == 62 else {
            return nil
        }
        let size = Int(Self.number(header, 0x36, 2))
        let count = Int(Self.number(header, 0x38, 2))
        guard size >= 56, let table = Int64(exactly: Self.number(header, 0x20, 8)), table >= 0 else { return nil }
        let programHeaders = try FileStore.read(path, offset: UInt64(table), count: size * count)
        guard programHeaders.count == size * count else { return nil }
        for index in 0..<count {
            let base = index * size
            switch Self.number(programHeaders, base, 4) {
            case 3: hasInterpreter = true
            case 4:
                let offset = Self.number(programHeaders, base + 8, 8)
                // Notes are small. A larger segment isn't what we look for.
                let length = min(Self.number(programHeaders, base + 32, 8), 1 << 16)
                guard offset <= UInt64(Int64.max) else { return nil }
                let notes = try FileStore.read(path, offset: offset, count: Int(length))
                if Self.hasPVHNote(notes) { hasPVHEntry = true }
            default: break
            }
        }
    }

    /// Notes: size of name, size of descriptor, type (4 bytes each), name and descriptor, each padded to 4.
    static func hasPVHNote(_ bytes: [UInt8]) -> Bool {
        var position = 0
        while bytes.count - position >= 12 {
            let nameSize = Int(number(bytes, position, 4))
            let descriptorSize = Int(number(bytes, position + 4, 4))
            let type = UInt32(truncatingIfNeeded: number(bytes, position + 8, 4))
            let name = position + 12
            let next = name + (nameSize + 3) / 4 * 4 + (descriptorSize + 3) / 4 * 4
            if type == noteType, nameSize == 4, bytes.count - name >= 4, Array(bytes[name..<(name + 4)]) == Array("Xen\0".utf8) {
                return true
            }
            position = next
        }
        return false
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ width: Int) -> UInt64 {
        guard offset + width <= bytes.count else { return 0 }
        return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
    }
}
