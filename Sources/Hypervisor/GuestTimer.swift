/// The device that wakes the guest's kernel when time is up.
public enum GuestTimer: Sendable, Equatable {
    /// The one in the processor: cheapest to set, and any kernel's own choice. How fast it runs a kernel learns by watching it for a tenth of a second of
    /// each boot, unless the hypervisor is one that tells (KVM does).
    case localAPIC
    /// The High Precision Event Timer tells its frequency: no tenth of a second. For a kernel that knows one CPU only, as it is not each CPU's own; under
    /// QEMU's translator, where no access to either leaves the process. It takes more accesses to set: up to 6 % of requests at depth 32 there.
    case hpet

    /// The timer for an emulated machine, or for one that KVM runs.
    ///
    /// - Parameter isUniprocessor: the kernel is built for one CPU (no CONFIG_SMP).
    public init(_ accelerator: Accelerator, isUniprocessor: Bool) {
        self = accelerator == .tcg && isUniprocessor ? .hpet : .localAPIC
    }

    /// Words for the command line of the guest's kernel (Documentation/admin-guide/kernel-parameters.txt).
    public var kernelParameters: [String] { self == .hpet ? ["noapictimer"] : [] }
}
