public import LinuxSystem

/// What the client is told of a disk.
public struct DiskDescription: Equatable, Sendable {
    /// The guest's name for it, such as "nvme0n1".
    public var name: String
    /// At most 20 bytes go out (VIRTIO_BLK_T_GET_ID).
    public var serial: String
    public var limits: BlockDeviceLimits
    /// A block device, not a file: what discard and zeroing mean differs.
    public var isBlockDevice: Bool
    public var canDiscard: Bool
    /// Bytes; 0: no limit known.
    public var maximumDiscard: UInt64
    /// The device zeroes by a command of its own, so that long ranges take no time.
    public var hasFastZeroes: Bool

    public init(
        name: String, serial: String, limits: BlockDeviceLimits, isBlockDevice: Bool, canDiscard: Bool,
        maximumDiscard: UInt64 = 0, hasFastZeroes: Bool = false
    ) {
        self.name = name
        self.serial = serial
        self.limits = limits
        self.isBlockDevice = isBlockDevice
        self.canDiscard = canDiscard
        self.maximumDiscard = maximumDiscard
        self.hasFastZeroes = hasFastZeroes
    }

    public static func == (left: DiskDescription, right: DiskDescription) -> Bool {
        left.name.isSame(as: right.name) && left.serial.isSame(as: right.serial) && left.limits == right.limits
            && left.isBlockDevice == right.isBlockDevice && left.canDiscard == right.canDiscard
    }
}

/// An open disk: the descriptor that requests go to, and what it is.
public struct ServedDisk: ~Copyable {
    let descriptor: OwnedDescriptor
    public let description: DiskDescription
    /// Reads and writes go through the page cache.
    let isBuffered: Bool

    /// How a disk is opened.
    public struct Options: Sendable {
        public var isReadOnly: Bool
        /// Through the page cache instead of O_DIRECT: for files on file systems without it, and for benchmarks.
        public var isBuffered: Bool

        public init(isReadOnly: Bool = false, isBuffered: Bool = false) {
            self.isReadOnly = isReadOnly
            self.isBuffered = isBuffered
        }
    }

    /// Opens a disk or a file. A device that only opens for reading (a write-protected one) becomes read-only.
    ///
    /// - Parameters:
    ///   - queueAttributes: the directory in sysfs that says what the device can discard; nil for a file.
    public init(
        path: String, name: String, serial: String, options: Options = Options(), queueAttributes: String? = nil
    ) throws(SystemError) {
        let cache: OpenOptions = options.isBuffered ? [] : .direct
        var isReadOnly = options.isReadOnly
        if !isReadOnly {
            do throws(SystemError) {
                let opened = try OwnedDescriptor(path: path, [.readWrite, cache])
                try self.init(
                    opened, isReadOnly: false, isBuffered: options.isBuffered, name: name, serial: serial, queueAttributes: queueAttributes)
                return
            } catch {
                // EROFS (30), EACCES (13), EPERM (1): it can still be read.
                guard error.code == 30 || error.code == 13 || error.code == 1 else { throw error }
                isReadOnly = true
            }
        }
        let opened = try OwnedDescriptor(path: path, [.readOnly, cache])
        try self.init(
            opened, isReadOnly: isReadOnly, isBuffered: options.isBuffered, name: name, serial: serial, queueAttributes: queueAttributes)
    }

    private init(
        _ opened: consuming OwnedDescriptor, isReadOnly: Bool, isBuffered: Bool, name: String, serial: String, queueAttributes: String?
    ) throws(SystemError) {
        let status = try opened.status()
        var limits: BlockDeviceLimits
        var maximumDiscard: UInt64 = 0
        var hasFastZeroes = !status.isBlockDevice
        if status.isBlockDevice {
            limits = try opened.blockDeviceLimits()
            if let queueAttributes {
                maximumDiscard = Self.number(queueAttributes + "/discard_max_bytes")
                hasFastZeroes = Self.number(queueAttributes + "/write_zeroes_max_bytes") > 0
            }
        } else {
            // O_DIRECT on a file wants the file system's block size at the worst; 512 is what virtio-blk counts in.
            limits = BlockDeviceLimits(size: status.size & ~511, logicalBlockSize: 512, physicalBlockSize: 4096)
        }
        limits.isReadOnly = limits.isReadOnly || isReadOnly
        // Without a number of its own a file is known by its inode: one that took its place is another disk.
        let known = !serial.isEmpty ? serial : status.isBlockDevice ? name : "inode " + decimal(Int(clamping: status.inode))
        description = DiskDescription(
            name: name, serial: known, limits: limits, isBlockDevice: status.isBlockDevice,
            canDiscard: !limits.isReadOnly && (!status.isBlockDevice || maximumDiscard > 0), maximumDiscard: maximumDiscard,
            hasFastZeroes: hasFastZeroes)
        self.isBuffered = isBuffered
        descriptor = opened
    }

    private static func number(_ path: String) -> UInt64 {
        do throws(SystemError) { return UInt64(try SmallFile.readText(path, limit: 64).trimmed.number ?? 0) } catch { return 0 }
    }
}
