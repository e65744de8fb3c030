public import Logging

/// The virtual machines of one libvirt connection: `qemu:///embed` by default, which needs no daemon.
///
/// libvirt's calls block, so they run on threads of their own. Safe to use from any task.
public final class Hypervisor: Sendable {
    /// What happens to the machines, from ``open(uri:root:cacheDirectory:logger:)`` on. For one consumer. Ends with ``close()``.
    public let events: AsyncStream<VirtualMachineEvent>

    init() {
        events = AsyncStream { _ in }
    }

    /// Prepares the root directory and connects. Machines that outlived an earlier owner of the same root are found again: see ``running()``.
    ///
    /// - Parameters:
    ///   - uri: `nil`: `qemu:///embed?root=ROOT`. Any other libvirt URI is used as it is.
    ///   - root: libvirt's state, logs and sockets. One process at a time.
    ///   - cacheDirectory: where the capabilities of QEMU are kept; probing them takes seconds.
    public static func open(
        uri: String? = nil, root: String, cacheDirectory: String, logger: Logger
    ) async throws(HypervisorError) -> Hypervisor {
        throw .libvirt(operation: "open", message: "not implemented")
    }

    /// Disconnects. The machines live on.
    public func close() async {}

    /// Starts a transient machine; returns the VMM's process id once the guest's vCPUs run.
    public func start(_ spec: VirtualMachineSpec, deadline: Duration = .seconds(30)) async throws(HypervisorError) -> Int32 {
        throw .libvirt(operation: "start", message: "not implemented")
    }

    /// Ends a machine's life: returns only when the VMM process is gone and reaped, so that nothing of it can write or DMA any more.
    /// A machine that is gone already is no error, provided that its process is gone too.
    public func destroy(_ name: String, deadline: Duration = .seconds(20)) async throws(HypervisorError) {}

    /// All machines, each with a state that was true after the call began.
    public func running() async throws(HypervisorError) -> [RunningMachine] { [] }

    /// A non-maskable interrupt to the guest: its kernel panics when booted with `unknown_nmi_panic=1`.
    public func injectNMI(_ name: String) async throws(HypervisorError) {}

    /// Stops the vCPUs: to the outside a machine that hangs.
    public func pause(_ name: String) async throws(HypervisorError) {}

    public func resume(_ name: String) async throws(HypervisorError) {}

    public func statistics(_ name: String) async throws(HypervisorError) -> MachineStatistics {
        throw .notRunning(machine: name)
    }
}
