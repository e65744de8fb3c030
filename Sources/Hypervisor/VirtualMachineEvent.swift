public import struct Foundation.UUID

/// Something that happened to a virtual machine.
public struct VirtualMachineEvent: Sendable, Equatable {
    /// The DD/OS's name.
    public var machine: String
    /// The life that it happened to: ``VirtualMachineSpec/uuid``.
    public var uuid: UUID
    public var kind: Kind

    public init(machine: String, uuid: UUID, kind: Kind) {
        self.machine = machine
        self.uuid = uuid
        self.kind = kind
    }

    public enum Kind: Sendable, Equatable {
        case started
        /// The guest's kernel panicked. Comes once per life. The VMM is kept, stopped, until ``Hypervisor/destroy(_:)``.
        case panicked
        /// A watchdog device was not fed.
        case watchdog
        /// The guest asked for a reset or shut down by itself.
        case guestReset
        case paused(reason: String)
        /// The host cannot read or write the disk's file: no space, or a medium that fails. Comes once per life, and once more if the VMM
        /// stops the guest for it. With an NVMe controller or an SD card, QEMU does not tell.
        case diskFailed(stops: Bool)
        case resumed
        /// The VMM is gone from libvirt's view. It is reaped only when ``Hypervisor/destroy(_:)`` returned.
        case stopped(StopReason)
    }

    public enum StopReason: String, Sendable {
        /// The guest powered itself off.
        case shutdown
        /// ``Hypervisor/destroy(_:)``.
        case destroyed
        /// After a panic.
        case crashed
        /// The VMM died: killed, aborted.
        case failed
        case other
    }
}
