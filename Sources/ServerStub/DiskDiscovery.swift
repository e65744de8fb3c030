internal import CLinux
internal import LinuxSystem

/// A disk that sysfs shows.
public struct FoundDisk: Equatable, Sendable {
    /// The kernel's name, such as "nvme0n1".
    public var name: String
    /// The device's own serial number; empty when it has none.
    public var serial: String
    /// The kernel's drivers that it is reached through, the function's own first: "ahci, sd".
    public var drivers: String

    public static func == (left: FoundDisk, right: FoundDisk) -> Bool { left.name.isSame(as: right.name) }
}

/// Finds the whole disks that hang below one PCI function.
public struct DiskDiscovery: Sendable {
    private let root: String
    private let device: String

    /// - Parameters:
    ///   - sysfs: where sysfs is mounted; tests give a directory of their own.
    ///   - device: the PCI address, such as "0000:00:10.0"; empty: any disk.
    public init(sysfs: String = "/sys", device: String) {
        root = sysfs
        self.device = device
    }

    /// The disks that are there now, with a size, in the order of their names.
    public func scan() -> [FoundDisk] {
        var found: [FoundDisk] = []
        for name in entries(root + "/block") {
            let path = root + "/block/" + name
            guard !isVirtual(name), let size = attribute(path + "/size").number, size > 0 else { continue }
            // Multipath NVMe shows each path as a disk of its own that cannot be opened.
            guard !attribute(path + "/hidden").isSame(as: "1") else { continue }
            guard belongs(path) else { continue }
            found.append(FoundDisk(name: name, serial: serial(path), drivers: drivers(path)))
        }
        found.sort { Self.isOrdered($0.name, $1.name) }
        return found
    }

    private func isVirtual(_ name: String) -> Bool {
        let kinds = ["loop", "ram", "zram", "dm-", "md", "nbd", "fd", "sr"]
        return kinds.contains { name.begins(with: $0) }
    }

    /// Whether the device tree above the disk contains the function.
    private func belongs(_ path: String) -> Bool {
        guard !device.isEmpty else { return true }
        guard let real = Self.resolve(path) else { return false }
        if isBelow(real) { return true }
        // A multipath NVMe namespace sits below a virtual subsystem; its controllers are links beside it.
        guard real.contains(bytes: "/nvme-subsystem/"), let subsystem = Self.resolve(path + "/device") else { return false }
        return entries(subsystem).contains { name in
            guard name.begins(with: "nvme"), let controller = Self.resolve(subsystem + "/" + name) else { return false }
            return isBelow(controller)
        }
    }

    private func isBelow(_ real: String) -> Bool {
        real.pieces(between: UInt8(ascii: "/")).contains { $0.isSame(as: device) }
    }

    /// The function's driver, then those of the devices between it and the disk.
    private func drivers(_ path: String) -> String {
        var list: [String] = []
        func add(_ link: String) {
            guard let driver = Self.resolve(link)?.pieces(between: UInt8(ascii: "/")).last else { return }
            if !list.contains(where: { $0.isSame(as: driver) }) { list.append(driver) }
        }
        if !device.isEmpty { add(root + "/bus/pci/devices/" + device + "/driver") }
        var place = ""
        for piece in (Self.resolve(path) ?? "").pieces(between: UInt8(ascii: "/")) {
            place += "/" + piece
            add(place + "/driver")
        }
        var text = ""
        for driver in list { text += text.isEmpty ? driver : ", " + driver }
        return text
    }

    private func serial(_ path: String) -> String {
        for place in ["/device/serial", "/serial"] {
            let text = attribute(path + place)
            if !text.isEmpty { return text }
        }
        // SCSI's unit serial number page: four bytes of header, then text.
        if let page = try? SmallFile.read(path + "/device/vpd_pg80", limit: 4096), page.count > 4 {
            return String(decoding: page[4...].filter { $0 > 31 && $0 < 127 }, as: UTF8.self).trimmed
        }
        return ""
    }

    private func attribute(_ path: String) -> String {
        do throws(SystemError) { return try SmallFile.readText(path, limit: 4096).trimmed } catch { return "" }
    }

    private func entries(_ path: String) -> [String] {
        do throws(SystemError) { return try Directory.entries(path) } catch { return [] }
    }

    /// Names by length first, so that sdb comes before sdaa and nvme2n1 before nvme10n1.
    private static func isOrdered(_ left: String, _ right: String) -> Bool {
        if left.utf8.count != right.utf8.count { return left.utf8.count < right.utf8.count }
        return left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// realpath(3); nil when there is no such file.
    static func resolve(_ path: String) -> String? {
        // SAFETY: with a null buffer realpath allocates one, which is ours to free.
        guard let real = unsafe path.withCString({ unsafe realpath($0, nil) }) else { return nil }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }
}
