internal import Glibc

/// Block devices that programs have open, perhaps without mounting them: a virtual machine's raw disk, a database's. Root sees all of them.
struct OpenDevices {
    private struct Opening {
        var process: Int
        /// Where the link in /proc points.
        var target: String
        /// Major and minor of a block device, `259:0`; nil for what is none.
        var number: String?
    }

    /// They look at every disk that appears, and close it again.
    private static let passing: Set<String> = ["systemd-udevd", "(udev-worker)", "udevd"]

    private let root: MachineRoot
    private let openings: [Opening]
    private let pause: () -> Void

    /// - Parameter pause: Waits a moment.
    init(_ root: MachineRoot, pause: @escaping () -> Void = { usleep(300_000) }) {
        self.root = root
        self.pause = pause
        openings = root.names(in: "proc").compactMap { Int($0) }.sorted().filter { $0 != Int(getpid()) }.flatMap {
            Self.openings(of: $0, root)
        }
    }

    private static func openings(of process: Int, _ root: MachineRoot) -> [Opening] {
        root.names(in: "proc/\(process)/fd").compactMap { name -> Opening? in
            let descriptor = "proc/\(process)/fd/\(name)"
            // Only of what is in /dev is asked what it is: asking about a file of a server that is gone would wait for the server.
            guard let target = root.linkTarget(descriptor), target.hasPrefix("/dev/") else { return nil }
            return Opening(process: process, target: target, number: root.blockDevice(descriptor))
        }
    }

    /// - Parameters:
    ///   - node: Below `/dev`.
    ///   - number: In another mount namespace, libvirt's for QEMU for instance, it may have another name.
    func uses(node: String, number: String) -> [HostUse] {
        func isThis(_ opening: Opening) -> Bool { opening.target == "/dev/\(node)" || opening.number == number }
        let found = openings.filter(isThis).map(\.process).uniqued()
        // Of what udev starts for a disk that has just appeared (blkid, lvm, mdadm), each looks at it for a moment.
        if !found.isEmpty { pause() }
        return found.filter { Self.openings(of: $0, root).contains(where: isThis) }.compactMap { process in
            let name = root.text("proc/\(process)/comm")?.prefix { $0 != "\n" } ?? "a program"
            return Self.passing.contains(String(name)) ? nil : .openedBy(device: node, program: String(name), process: process)
        }
    }
}

extension MachineRoot {
    /// Major and minor of the block device at `name`, as sysfs writes them; nil for anything else.
    fileprivate func blockDevice(_ name: String) -> String? {
        var found = stat()
        guard stat(path(of: name), &found) == 0, found.st_mode & S_IFMT == S_IFBLK else { return nil }
        // As gnu_dev_major and gnu_dev_minor of sys/sysmacros.h.
        let device = UInt64(found.st_rdev)
        return "\(device >> 8 & 0xfff | device >> 32 & 0xffff_f000):\(device & 0xff | device >> 12 & 0xffff_ff00)"
    }
}
