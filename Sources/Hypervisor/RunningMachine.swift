public import struct Foundation.UUID

/// A virtual machine that libvirt knows, as found by ``Hypervisor/running()``.
public struct RunningMachine: Sendable, Equatable {
    public var name: String
    public var uuid: UUID
    /// Of the VMM.
    public var pid: Int32
    public var state: State

    public init(name: String, uuid: UUID, pid: Int32, state: State) {
        self.name = name
        self.uuid = uuid
        self.pid = pid
        self.state = state
    }

    public enum State: String, Sendable {
        case running
        case paused
        /// The guest panicked, perhaps while nobody watched; the VMM is still there and has to be destroyed.
        case crashed
        /// Starting or stopping, or a state that Drover does not use.
        case other
    }
}

/// What a virtual machine has used since it started.
public struct MachineStatistics: Sendable, Equatable {
    /// CPU time of the vCPU threads in nanoseconds.
    public var vcpuNanoseconds: UInt64
    /// CPU time of the whole VMM process, the vCPU threads included, in nanoseconds.
    public var totalNanoseconds: UInt64
    /// Resident memory of the VMM, the guest's memory included, in bytes.
    public var residentBytes: UInt64
    /// Of these, the guest's memory that was ever touched (shmem), in bytes.
    public var guestResidentBytes: UInt64

    public init(vcpuNanoseconds: UInt64, totalNanoseconds: UInt64, residentBytes: UInt64, guestResidentBytes: UInt64) {
        self.vcpuNanoseconds = vcpuNanoseconds
        self.totalNanoseconds = totalNanoseconds
        self.residentBytes = residentBytes
        self.guestResidentBytes = guestResidentBytes
    }
}
