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
    /// A sentence: "KVM is not usable: …".
    public var reason: String

    public init(accelerator: Accelerator, reason: String) {
        self.accelerator = accelerator
        self.reason = reason
    }
}

extension Accelerator {
    /// `auto`: KVM only where a stock kernel really runs under it. Opening `/dev/kvm` proves nothing, see the README.
    public static func choose() -> AcceleratorChoice {
        AcceleratorChoice(accelerator: .tcg, reason: "not implemented")
    }
}
