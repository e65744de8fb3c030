internal import Glibc

/// Something of the host's that would break if the device were taken away.
public enum HostUse: Sendable, Equatable, Codable {
    /// A file system: which block device, and where.
    case mounted(device: String, at: String)
    case swap(device: String)
    /// Device mapper (LVM, dm-crypt, multipath), MD RAID, bcache: something that is built on top of it.
    case held(device: String, by: String)
    /// Opened exclusively, by the kernel or a program that doesn't show elsewhere: ZFS, mkfs, an NBD or iSCSI server.
    case opened(device: String)
    /// A program has it open, exclusively or not: a virtual machine, a database.
    case openedBy(device: String, program: String, process: Int)
    case defaultRoute(interface: String)
    /// The interface, or what is built on it, has the address at which a remote shell comes in.
    case sshConnection(interface: String, address: String)
    case bootDisplay

    /// Completes "it is in use: …".
    public var text: String {
        switch self {
        case .mounted(let device, let path): "\(device) is mounted at \(path)"
        case .swap(let device): "\(device) is swap space"
        case .held(let device, let holder): "\(device) is part of \(holder)"
        case .opened(let device): "\(device) is opened for exclusive use"
        case .openedBy(let device, let program, let process): "\(program) (process \(process)) has \(device) open"
        case .defaultRoute(let interface): "the default route goes over \(interface)"
        case .sshConnection(let interface, let address): "an SSH connection comes in over \(interface) (\(address))"
        case .bootDisplay: "it is the display that this machine started on"
        }
    }

    /// What would free it.
    public var remedy: String {
        switch self {
        case .mounted(_, let path): "umount \(path)"
        case .swap(let device): "swapoff /dev/\(device)"
        case .held(_, let holder): "take \(holder) apart or deactivate it (vgchange -an, mdadm --stop, cryptsetup close)"
        case .opened(let device): "find who has it (fuser -v /dev/\(device)) and stop that"
        case .openedBy(_, let program, let process): "stop \(program) (process \(process))"
        case .defaultRoute: "route over another interface (ip route)"
        case .sshConnection: "log in over another interface"
        case .bootDisplay: "let the firmware start on another display"
        }
    }
}

extension HostUse {
    /// Everything of the host's that needs this function now.
    public static func find(_ function: PCIFunction, root: MachineRoot = MachineRoot()) -> [HostUse] {
        find(function, root: root) { root.isOpenedExclusively($0) }
    }

    /// - Parameter isOpened: Of a file in `dev/`: whether somebody has the one exclusive opening that the kernel gives away. For tests.
    static func find(_ function: PCIFunction, root: MachineRoot, isOpened: (String) -> Bool) -> [HostUse] {
        let directory = "sys/bus/pci/devices/\(function.address)"
        var uses: [HostUse] = []
        let disks = disks(below: directory, root)
        if !disks.isEmpty {
            let open = OpenDevices(root)
            for disk in disks { uses += disk.uses(root, open: open, isOpened: isOpened) }
        }
        uses += NetworkUse(root).of(interfaces(below: directory, root))
        if function.isBootDisplay, function.driver != nil { uses.append(.bootDisplay) }
        return uses
    }

    // MARK: what hangs off a function

    /// Block devices in the directories below a function. Other PCI functions, below a bridge, are not its own.
    private static func disks(below directory: String, _ root: MachineRoot) -> [HostDisk] {
        walk(directory, root, depth: 0).flatMap { path in
            root.names(in: path).filter { name in
                // SCSI and virtio disks are in a directory `block`; NVMe's are below their controller.
                (path.hasSuffix("/block") || name.hasPrefix("nvme"))
                    && root.exists("\(path)/\(name)/size") && !root.exists("\(path)/\(name)/partition")
            }.map { HostDisk(name: visibleName($0)) }
        }.uniqued()
    }

    private static func interfaces(below directory: String, _ root: MachineRoot) -> [String] {
        walk(directory, root, depth: 0).filter { $0.hasSuffix("/net") }.flatMap { root.names(in: $0) }.uniqued()
    }

    /// Directories below `directory` that may hold devices: real ones, since sysfs's links lead elsewhere.
    private static func walk(_ directory: String, _ root: MachineRoot, depth: Int) -> [String] {
        // A disk behind a few SAS expanders is this deep.
        guard depth < 20 else { return [] }
        var found = [directory]
        for name in root.names(in: directory) where PCIAddress(name) == nil && name != "power" {
            let path = "\(directory)/\(name)"
            if root.isRealDirectory(path) { found += walk(path, root, depth: depth + 1) }
        }
        return found
    }

    /// With NVMe multipath the controller has `nvme0c1n1`, hidden, and everybody uses `nvme0n1`.
    private static func visibleName(_ name: String) -> String {
        guard name.hasPrefix("nvme"), let c = name.firstIndex(of: "c"), let n = name[c...].firstIndex(of: "n") else { return name }
        return String(name[..<c] + name[n...])
    }
}

extension MachineRoot {
    func exists(_ name: String) -> Bool { access(path(of: name), F_OK) == 0 }

    /// A directory, and not a link to one.
    func isRealDirectory(_ name: String) -> Bool {
        var found = stat()
        return lstat(path(of: name), &found) == 0 && found.st_mode & S_IFMT == S_IFDIR
    }

    /// Of a block device the kernel gives away one exclusive opening; file systems, swap, DM and MD each hold it.
    func isOpenedExclusively(_ name: String) -> Bool {
        let descriptor = open(path(of: name), O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK)
        if descriptor >= 0 {
            close(descriptor)
            return false
        }
        return errno == EBUSY
    }
}

extension Sequence where Element: Hashable {
    /// Each element once, in the order of its first appearance.
    func uniqued() -> [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
