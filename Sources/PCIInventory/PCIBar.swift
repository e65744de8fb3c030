/// A base address register that is in use, or the expansion ROM: a line of sysfs's `resource`.
public struct PCIBar: Sendable, Equatable, Codable {
    public enum Kind: String, Sendable, Codable {
        case memory
        /// Memory that may be read ahead and written in bursts.
        case prefetchable
        /// x86 I/O ports.
        case ports
        case rom
    }

    /// 0 to 5; 6 is the expansion ROM.
    public var index: Int
    public var kind: Kind
    /// As the host's CPU sees it.
    public var start: UInt64
    /// In bytes.
    public var size: UInt64

    /// Reads `START END FLAGS`, hexadecimal with `0x`. Nil for a register that is not in use, and for anything else.
    ///
    /// The flags are those of include/linux/ioport.h: 0x100 I/O ports, 0x200 memory, 0x2000 prefetchable.
    init?(line: Substring, index: Int) {
        let fields = line.split(separator: " ").map { $0.hasPrefix("0x") ? UInt64($0.dropFirst(2), radix: 16) : nil }
        guard fields.count == 3, let start = fields[0], let end = fields[1], let flags = fields[2], flags & 0x300 != 0, end >= start,
            end - start < UInt64.max
        else { return nil }
        self.index = index
        kind = index == 6 ? .rom : flags & 0x100 != 0 ? .ports : flags & 0x2000 != 0 ? .prefetchable : .memory
        self.start = start
        size = end - start + 1
    }

    /// The first seven lines: what follows belongs to SR-IOV and to bridges.
    static func all(resource: String) -> [PCIBar] {
        resource.split(separator: "\n", omittingEmptySubsequences: false).prefix(7).enumerated().compactMap {
            PCIBar(line: $0.element, index: $0.offset)
        }
    }
}
