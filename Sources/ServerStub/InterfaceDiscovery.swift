internal import LinuxSystem

/// Finds the network interfaces that hang below one PCI function: a NIC's own, a virtio device's, or a USB adapter's below its
/// controller.
public struct InterfaceDiscovery: Sendable {
    private let root: String
    private let device: String

    /// - Parameters:
    ///   - sysfs: where sysfs is mounted; tests give a directory of their own.
    ///   - device: the PCI address, such as "0000:00:10.0".
    public init(sysfs: String = "/sys", device: String) {
        root = sysfs
        self.device = device
    }

    /// The names of the interfaces that are there now, in the order in which the kernel made them.
    public func scan() -> [String] {
        var found: [(index: Int, name: String)] = []
        for name in entries(root + "/class/net") {
            let path = root + "/class/net/" + name
            guard let real = DiskDiscovery.resolve(path), real.pieces(between: UInt8(ascii: "/")).contains(where: { $0.isSame(as: device) })
            else { continue }
            found.append((attribute(path + "/ifindex").number ?? Int.max, name))
        }
        found.sort { $0.index < $1.index }
        return found.map { $0.name }
    }

    /// Waits until one is there.
    ///
    /// - Parameter deadline: in nanoseconds of the monotonic clock.
    func wait(until deadline: UInt64) -> [String] {
        while true {
            let now = scan()
            if !now.isEmpty || Clock.monotonic() > deadline { return now }
            Clock.sleep(nanoseconds: 10_000_000)
        }
    }

    private func attribute(_ path: String) -> String {
        do throws(SystemError) { return try SmallFile.readText(path, limit: 4096).trimmed } catch { return "" }
    }

    private func entries(_ path: String) -> [String] {
        do throws(SystemError) { return try Directory.entries(path) } catch { return [] }
    }
}
