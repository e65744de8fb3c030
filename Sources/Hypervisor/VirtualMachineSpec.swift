public import struct Foundation.UUID

/// What a DD/OS's virtual machine consists of: everything needed to start one life of it.
public struct VirtualMachineSpec: Sendable, Equatable {
    /// libvirt domain name: the DD/OS's name. Letters, digits, `_`, `-`, `.`; at most 48 bytes.
    public var name: String
    /// Identifies this *life*: give each start a new one, so that a late event of the last life cannot be taken for one of this.
    public var uuid: UUID
    /// Guest memory in MiB. It is shared with the client stub (memfd), so it is all charged to shmem.
    public var memoryMiB: Int
    public var vcpus: Int
    /// Path of the kernel: bzImage, or PVH vmlinux (boots seconds faster under TCG).
    public var kernel: String
    public var initrd: String
    /// Kernel command line.
    public var commandLine: String
    public var accelerator: Accelerator
    public var device: DeviceBinding
    /// vhost-user socket on which the client stub listens; `nil` leaves the vsock device out.
    public var vsockSocket: String?
    /// The file that the guest's serial console is appended to.
    public var consoleLog: String

    public init(
        name: String, uuid: UUID = UUID(), memoryMiB: Int = 128, vcpus: Int = 1, kernel: String, initrd: String, commandLine: String,
        accelerator: Accelerator = .tcg, device: DeviceBinding, vsockSocket: String? = nil, consoleLog: String
    ) {
        self.name = name
        self.uuid = uuid
        self.memoryMiB = memoryMiB
        self.vcpus = vcpus
        self.kernel = kernel
        self.initrd = initrd
        self.commandLine = commandLine
        self.accelerator = accelerator
        self.device = device
        self.vsockSocket = vsockSocket
        self.consoleLog = consoleLog
    }
}

/// How a DD/OS gets its device.
public enum DeviceBinding: Sendable, Equatable {
    /// QEMU's model of a controller at PCI 0000:00:10.0 of the guest, its disk in a file (see ``BackingFile``).
    case emulated(DeviceModel, backingFile: String)
    /// Passthrough of the host's PCI function, as `0000:01:00.0`. It also appears at 0000:00:10.0 in the guest.
    case pci(address: String)
    /// No device: for tests of the machine itself.
    case none
}
