/// The interfaces that default routes leave by.
enum DefaultRoutes {
    static func interfaces(_ root: MachineRoot) -> Set<String> {
        var names: Set<String> = []
        // Iface Destination Gateway Flags … Mask; of IPv4's main table.
        for line in (root.text("proc/net/route") ?? "").split(separator: "\n").dropFirst() {
            let fields = line.split(whereSeparator: \.isWhitespace)
            if fields.count > 7, fields[1] == "00000000", fields[7] == "00000000" { names.insert(String(fields[0])) }
        }
        // Destination, prefix length, …, name; of all tables of IPv6.
        for line in (root.text("proc/net/ipv6_route") ?? "").split(separator: "\n") {
            let fields = line.split(whereSeparator: \.isWhitespace)
            // The table always has a default "unreachable" over lo.
            if fields.count > 9, fields[0].allSatisfy({ $0 == "0" }), fields[1] == "00", fields[9] != "lo" {
                names.insert(String(fields[9]))
            }
        }
        // IPv4's other tables, for policy routing and VRFs, are in no file.
        if root == MachineRoot() { names.formUnion(RouteDump.interfaces()) }
        return names
    }
}
