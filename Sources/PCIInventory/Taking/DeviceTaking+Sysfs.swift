internal import Glibc

/// What taking and giving back read and write.
extension DeviceTaking {
    /// Every function, with all that is known of one.
    func functions(inFull address: PCIAddress) throws(TakingError) -> [PCIFunction] {
        do {
            return try PCIInventory(root: root).functions(inFull: address)
        } catch {
            throw .pci(error)
        }
    }

    func driver(_ address: PCIAddress) throws(TakingError) -> String? {
        do {
            return try linkName(root.path(of: attribute(address, "driver")))
        } catch {
            throw .pci(error)
        }
    }

    func attribute(_ address: PCIAddress, _ name: String) -> String { "sys/bus/pci/devices/\(address)/\(name)" }

    func wait(for wanted: String, _ address: PCIAddress) throws(TakingError) {
        for _ in 0..<max(1, Int(patienceSeconds * 50)) {
            if try driver(address) == wanted { return }
            usleep(20_000)
        }
        throw .notBound(address: address, wanted: wanted, found: try driver(address))
    }

    func write(_ value: String, to name: String) throws(TakingError) {
        let path = root.path(of: name)
        // As a shell does: sysfs has nothing to truncate, plain files do.
        let descriptor = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard descriptor >= 0 else { throw .sysfs(path: path, value: shown(value), errno: errno) }
        defer { close(descriptor) }
        let bytes = Array(value.utf8)
        // An attribute takes its value in one write.
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw .sysfs(path: path, value: shown(value), errno: errno)
        }
    }

    private func shown(_ value: String) -> String { value == "\n" ? "" : value }

    func haveDriver() throws(TakingError) {
        if root.exists("sys/bus/pci/drivers/\(Self.driver)") { return }
        if let failure = loadModule(Self.driver) { throw .noDriver(failure) }
        guard root.exists("sys/bus/pci/drivers/\(Self.driver)") else { throw .noDriver("this kernel has no driver of that name") }
    }
}

extension MachineRoot {
    /// Whether a VFIO group's file is open somewhere: the kernel gives it away once.
    func isBusy(_ name: String) -> Bool {
        let descriptor = open(path(of: name), O_RDWR | O_CLOEXEC)
        if descriptor >= 0 {
            close(descriptor)
            return false
        }
        return errno == EBUSY
    }
}
