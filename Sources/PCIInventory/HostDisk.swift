/// A disk of the host's, with its partitions.
struct HostDisk: Hashable {
    /// As in /sys/block; there `/` is written `!`.
    var name: String

    /// - Parameters:
    ///   - open: What programs have open.
    ///   - isOpened: Of a file in `dev/`: whether somebody has opened it exclusively.
    func uses(_ root: MachineRoot, open: OpenDevices, isOpened: (String) -> Bool) -> [HostUse] {
        let partitions = root.names(in: "sys/class/block/\(name)").filter { root.exists("sys/class/block/\(name)/\($0)/partition") }
        func uses(of device: String) -> [HostUse] {
            let known = self.uses(of: device, root)
            return known.isEmpty ? open.uses(node: Self.node(device), number: Self.number(device, root)) : known
        }
        // Who has the whole disk exclusively has each partition, and the other way round: that is one use, and what is known of it is said.
        let whole = uses(of: name)
        let parts = partitions.flatMap { partition in
            let known = uses(of: partition)
            return known.isEmpty && whole.isEmpty && isOpened("dev/\(Self.node(partition))")
                ? [.opened(device: Self.node(partition))] : known
        }
        let found = whole + parts
        return found.isEmpty && isOpened("dev/\(Self.node(name))") ? [.opened(device: Self.node(name))] : found
    }

    private static func node(_ device: String) -> String { device.replacing("!", with: "/") }

    /// Such as `259:0`.
    private static func number(_ device: String, _ root: MachineRoot) -> String {
        (root.text("sys/class/block/\(device)/dev")?.prefix { $0 != "\n" }).map(String.init) ?? ""
    }

    private func uses(of device: String, _ root: MachineRoot) -> [HostUse] {
        let node = Self.node(device)
        let number = Self.number(device, root)
        var uses: [HostUse] = []
        for mount in Self.mounts(root) where mount.number == number || mount.source == "/dev/\(node)" {
            uses.append(.mounted(device: node, at: mount.path))
        }
        let swaps = root.text("proc/swaps")?.split(separator: "\n").dropFirst() ?? []
        if swaps.contains(where: { $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).first == "/dev/\(node)" }) {
            uses.append(.swap(device: node))
        }
        uses += root.names(in: "sys/class/block/\(device)/holders").map { .held(device: node, by: Self.title(ofHolder: $0, root)) }
        return uses
    }

    private static func title(ofHolder name: String, _ root: MachineRoot) -> String {
        guard let label = root.text("sys/class/block/\(name)/dm/name")?.prefix(while: { $0 != "\n" }), !label.isEmpty else { return name }
        return "\(label) (\(name))"
    }

    /// /proc/self/mountinfo: `36 35 98:0 /root /mount/point options … - type /dev/source options`; blanks are written `\040`.
    private static func mounts(_ root: MachineRoot) -> [(number: Substring, path: String, source: Substring)] {
        (root.text("proc/self/mountinfo") ?? "").split(separator: "\n").compactMap { line -> (Substring, String, Substring)? in
            let fields = line.split(separator: " ")
            guard fields.count >= 5, let dash = fields.firstIndex(of: "-"), fields.count > dash + 2 else { return nil }
            return (fields[2], String(fields[4]).replacing("\\040", with: " "), fields[dash + 2])
        }
    }
}
