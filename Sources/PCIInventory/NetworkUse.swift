internal import Glibc

/// What the host's networking needs of its interfaces.
struct NetworkUse {
    private let root: MachineRoot
    /// Interfaces that a default route leaves by.
    private let routes: Set<String>
    /// The machine's own addresses at which SSH connections are established, as the kernel's tables write them, and as people do.
    private let shells: [String: String]

    init(_ root: MachineRoot) {
        self.root = root
        routes = DefaultRoutes.interfaces(root)
        shells = RemoteShells.addresses(root)
    }

    func of(_ interfaces: [String]) -> [HostUse] {
        var uses: [HostUse] = []
        for interface in interfaces {
            for name in carried(interface) {
                let title = name == interface ? interface : "\(interface), as part of \(name)"
                if routes.contains(name) { uses.append(.defaultRoute(interface: title)) }
                for address in addresses(name) {
                    if let text = shells[address] { uses.append(.sshConnection(interface: title, address: text)) }
                }
            }
        }
        return uses
    }

    /// Itself, and the bridges, bonds and VLANs that need it.
    private func carried(_ interface: String) -> [String] {
        var names = upper(interface, depth: 0)
        // Above a port of Open vSwitch the kernel shows the switch, and not the interfaces by which the host is connected to the same one.
        if names.contains("ovs-system") {
            names += root.names(in: "sys/class/net").filter(mayBeOpenVSwitchs).flatMap { upper($0, depth: 0) }
        }
        return names.uniqued()
    }

    /// Virtual, and neither on top of another one, nor the end of a pair or tunnel.
    private func mayBeOpenVSwitchs(_ interface: String) -> Bool {
        let place = "sys/class/net/\(interface)"
        func line(_ file: String) -> Substring? { root.text("\(place)/\(file)")?.prefix { $0 != "\n" } }
        return interface != "ovs-system" && line("type") == "1" && line("iflink") == line("ifindex")
            && !root.exists("\(place)/device") && !root.exists("\(place)/tun_flags")
            && !(root.text("\(place)/uevent") ?? "").contains("DEVTYPE=")
            && !root.names(in: place).contains { $0.hasPrefix("lower_") }
    }

    private func upper(_ interface: String, depth: Int) -> [String] {
        guard depth < 8 else { return [interface] }
        let above = root.names(in: "sys/class/net/\(interface)").filter { $0.hasPrefix("upper_") }.map { String($0.dropFirst(6)) }
        return [interface] + above.flatMap { upper($0, depth: depth + 1) }
    }

    // MARK: addresses

    /// An IPv4 address may have a label of its own: `eth0:1` is on `eth0`. No interface has a colon in its name.
    static func interface(ofLabel label: String) -> String { String(label.prefix { $0 != ":" }) }

    /// The addresses of an interface, in the form of ``shells``. IPv4: getifaddrs, or in a made-up machine the file `addresses` of the interface.
    private func addresses(_ interface: String) -> [String] {
        if let text = root.text("sys/class/net/\(interface)/addresses") {
            return text.split(whereSeparator: \.isWhitespace).map(String.init)
        }
        return root == MachineRoot() ? Self.ownAddresses(interface) : []
    }

    private static func ownAddresses(_ interface: String) -> [String] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [String] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ifa_next
            guard Self.interface(ofLabel: String(cString: entry.pointee.ifa_name)) == interface, let address = entry.pointee.ifa_addr else {
                continue
            }
            switch Int32(address.pointee.sa_family) {
            case AF_INET:
                let number = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
                found.append(padded(number, 8, uppercase: true))
            case AF_INET6:
                let bytes = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    withUnsafeBytes(of: $0.pointee.sin6_addr) { Array($0) }
                }
                // Four words, each as the processor reads it.
                found.append(
                    stride(from: 0, to: 16, by: 4).map { word in
                        (0..<4).reversed().map { padded(bytes[word + $0], 2, uppercase: true) }.joined()
                    }.joined())
            default: break
            }
        }
        return found
    }
}
