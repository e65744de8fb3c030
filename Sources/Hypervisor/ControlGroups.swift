import Foundation

/// The control groups that libvirt makes for machines of embedded drivers.
///
/// It removes them when it sees a machine end. A machine whose VMM died while no supervisor watched leaves its groups behind, in every hierarchy:
///
/// ```
/// ROOT/machine/qemu-embed-HASH-ID-NAME.libvirt-qemu/{emulator,vcpu0}                 version 2
/// ROOT/CONTROLLER/machine/qemu-embed-HASH-ID-NAME.libvirt-qemu/{emulator,vcpu0}      version 1
/// ```
enum ControlGroups {
    /// Removes groups of machines that are no more: no process in them, and older than a machine takes to start.
    ///
    /// - Parameter age: seconds.
    static func sweep(root: String = "/sys/fs/cgroup", age: Double = 120) {
        for hierarchy in [root] + entries(root).map({ root + "/" + $0 }) {
            let machines = hierarchy + "/machine"
            for name in entries(machines) where name.hasPrefix("qemu-embed-") {
                let group = machines + "/" + name
                if isOlder(group, age), isEmpty(group) { remove(group) }
            }
        }
    }

    private static func isOlder(_ group: String, _ age: Double) -> Bool {
        let attributes = try? FileManager.default.attributesOfItem(atPath: group)
        guard let date = attributes?[.modificationDate] as? Date else { return false }
        return Date().timeIntervalSince(date) >= age
    }

    /// Neither processes nor, as version 1 has them apart, threads: here and below.
    private static func isEmpty(_ group: String) -> Bool {
        for file in ["cgroup.procs", "tasks"] {
            if let data = FileManager.default.contents(atPath: group + "/" + file), !data.isEmpty { return false }
        }
        return folders(group).allSatisfy { isEmpty(group + "/" + $0) }
    }

    /// EBUSY, when somebody has moved in meanwhile, is as good as a removal that was never tried.
    private static func remove(_ group: String) {
        for name in folders(group) { remove(group + "/" + name) }
        rmdir(group)
    }

    private static func folders(_ path: String) -> [String] {
        entries(path).filter { name in
            var information = stat()
            return lstat(path + "/" + name, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
        }
    }

    private static func entries(_ path: String) -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }
}
