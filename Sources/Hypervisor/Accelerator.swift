/// What executes the guest's instructions.
public enum Accelerator: String, Sendable, Codable, CaseIterable {
    /// QEMU's translator: works everywhere.
    case tcg
    /// The processor, by way of the kernel.
    case kvm
}

/// The accelerator that a machine should use, and why in words for people.
public struct AcceleratorChoice: Sendable, Equatable {
    public var accelerator: Accelerator
    /// A sentence: "KVM is not used, QEMU translates instead: …".
    public var reason: String
    /// What is wrong with this machine's KVM; nil when nothing is, or nobody looked.
    public var objection: String?

    public init(accelerator: Accelerator, reason: String, objection: String? = nil) {
        self.accelerator = accelerator
        self.reason = reason
        self.objection = objection
    }
}

extension Accelerator {
    /// `auto`: KVM only where a stock kernel really runs under it.
    ///
    /// That `/dev/kvm` opens proves nothing: a software KVM creates machines and runs simple code, and QEMU then hangs with a stock kernel
    /// without ending. So the choice goes by the processor's flags, the module behind the device, and a capability that only a KVM on
    /// hardware has. Whoever starts a machine under KVM still needs a boot deadline.
    public static func choose(_ signals: AcceleratorSignals = .read()) -> AcceleratorChoice {
        func translated(_ why: String) -> AcceleratorChoice {
            AcceleratorChoice(accelerator: .tcg, reason: "KVM is not used, QEMU translates instead: \(why).", objection: why)
        }
        switch signals.device {
        case .missing: return translated("this machine has no /dev/kvm")
        case .closed(let errno): return translated("/dev/kvm cannot be opened (\(SystemText.reason(errno)))")
        case .open(let systemManagementMode):
            if let module = signals.softwareModule, signals.hardwareModule == nil {
                return translated("/dev/kvm belongs to the software KVM \(module), which does not run stock kernels")
            }
            guard let flag = signals.virtualizationFlag else {
                return translated("/dev/kvm is there, but the processor shows no hardware virtualization (neither vmx nor svm)")
            }
            if !systemManagementMode {
                return translated("the KVM of this machine lacks system management mode (KVM_CAP_X86_SMM), which a KVM on hardware has")
            }
            let module = signals.hardwareModule.map { ", \($0)" } ?? ""
            return AcceleratorChoice(
                accelerator: .kvm, reason: "KVM is used: the processor has hardware virtualization (\(flag)\(module)).")
        }
    }
}
