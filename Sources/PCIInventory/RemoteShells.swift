internal import Glibc

/// The SSH connections into this machine.
enum RemoteShells {
    /// Names of the programs that serve them; OpenSSH 9.8 has one for the session.
    private static let servers: Set<String> = ["sshd", "sshd-session", "dropbear"]

    /// The machine's own addresses at which SSH connections are established, as the kernel's tables write them, and as people do.
    ///
    /// What belongs to a server of SSH, whatever its port; and without the right to look at its descriptors: port 22, and the one that
    /// SSH_CONNECTION tells of.
    static func addresses(_ root: MachineRoot) -> [String: String] {
        let sockets = sockets(root)
        let lines = ["proc/net/tcp", "proc/net/tcp6"].flatMap { table in
            (root.text(table) ?? "").split(separator: "\n").dropFirst().compactMap { Line($0) }
        }
        var ports: Set<UInt16> = [22]
        if let port = portOfThisShell { ports.insert(port) }
        for line in lines where line.state == .listening && line.belongs(to: sockets) { ports.insert(line.port) }
        var found: [String: String] = [:]
        for line in lines where line.state == .established && (ports.contains(line.port) || line.belongs(to: sockets)) {
            found[line.address] = readable(line.address)
        }
        return found
    }

    private static var portOfThisShell: UInt16? {
        guard let variable = getenv("SSH_CONNECTION") else { return nil }
        let fields = String(cString: variable).split(separator: " ")
        return fields.count == 4 ? UInt16(fields[3]) : nil
    }

    /// Inodes of the sockets that servers of SSH have open.
    private static func sockets(_ root: MachineRoot) -> Set<Substring> {
        var inodes: Set<Substring> = []
        for process in root.names(in: "proc") where process.allSatisfy(\.isNumber) {
            guard let name = root.text("proc/\(process)/comm")?.prefix(while: { $0 != "\n" }), servers.contains(String(name)) else {
                continue
            }
            for descriptor in root.names(in: "proc/\(process)/fd") {
                guard let target = root.linkTarget("proc/\(process)/fd/\(descriptor)"), target.hasPrefix("socket:[") else { continue }
                inodes.insert(target.dropFirst(8).prefix { $0 != "]" })
            }
        }
        return inodes
    }

    /// A line of /proc/net/tcp: `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`.
    private struct Line {
        enum State: Substring {
            case established = "01"
            case listening = "0A"
        }

        var address: String
        var port: UInt16
        var state: State
        var inode: Substring?

        init?(_ text: Substring) {
            let fields = text.split(separator: " ")
            guard fields.count > 3, let state = State(rawValue: fields[3]) else { return nil }
            // ADDRESS:PORT in hexadecimal.
            let local = fields[1].split(separator: ":")
            guard local.count == 2, let port = UInt16(local[1], radix: 16) else { return nil }
            address = RemoteShells.canonical(String(local[0]))
            self.port = port
            self.state = state
            inode = fields.count > 9 ? fields[9] : nil
        }

        func belongs(to sockets: Set<Substring>) -> Bool { inode.map(sockets.contains) ?? false }
    }

    /// An IPv4 address that IPv6 carries is the same address.
    fileprivate static func canonical(_ address: String) -> String {
        let mapped = "0000000000000000FFFF0000"
        return address.hasPrefix(mapped) ? String(address.dropFirst(mapped.count)) : address
    }

    private static func readable(_ address: String) -> String {
        guard address.utf8.count == 8, let number = UInt32(address, radix: 16) else { return "IPv6" }
        // As it lies in memory: the lowest byte is the first.
        return (0..<4).map { "\(number >> (8 * $0) & 0xff)" }.joined(separator: ".")
    }
}
