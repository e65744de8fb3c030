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
    /// What wakes the guest's kernel.
    public var timer = GuestTimer.localAPIC
    /// vhost-user socket on which the client stub listens; `nil` leaves the vsock device out.
    public var vsockSocket: String?
    /// Of a network DD/OS: the way of its packets.
    public var packets: PacketChannel?
    /// The file that the guest's serial console is appended to.
    public var consoleLog: String
    /// CPU time of guest and VMM per time, in CPUs; nil: no limit. Needs the host's cpu control group, as the next needs the memory one.
    public var cpuLimit: Double?
    /// Memory of guest and VMM in MiB, beyond which the kernel kills the VMM; nil: no limit.
    public var memoryLimitMiB: Int?

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

/// The virtio-net device at PCI 0000:00:13.0 of the guest, which the client stub serves.
public struct PacketChannel: Sendable, Equatable {
    /// vhost-user socket on which the client stub listens.
    public var socket: String
    /// Queues in each direction, one for each vCPU that is to carry packets.
    public var queuePairs: Int

    public init(socket: String, queuePairs: Int = 1) {
        self.socket = socket
        self.queuePairs = queuePairs
    }
}

/// How a DD/OS gets its device.
public enum DeviceBinding: Sendable, Equatable {
    /// QEMU's model of a controller at PCI 0000:00:10.0 of the guest, its disk in a file (see ``BackingFile``).
    case emulated(DeviceModel, backingFile: String)
    /// QEMU's model of a NIC at PCI 0000:00:10.0 of the guest.
    case emulatedNIC(EmulatedNIC)
    /// Passthrough of the host's PCI function, which is at this place. It also appears at 0000:00:10.0 in the guest.
    case pci(PCIPlace)
    /// No device: for tests of the machine itself.
    case none

    /// What the guest's kernel is to be told because the device is what it is.
    public var kernelParameters: [String] {
        if case .emulated(let model, _) = self { model.kernelParameters } else { [] }
    }
}
