import CLibvirt
import CLinux
import Foundation
import LinuxSystem

/// What the choice of an accelerator is made from. A value, so that the choice can be tested for machines that nobody has.
public struct AcceleratorSignals: Sendable, Equatable {
    public enum KVMDevice: Sendable, Equatable {
        case missing
        /// `/dev/kvm` is there and cannot be opened: the errno value.
        case closed(errno: Int32)
        /// It opens; does it have KVM_CAP_X86_SMM? Firmware of a stock machine needs it, and software KVMs lack it.
        case open(systemManagementMode: Bool)
    }

    public var device: KVMDevice
    /// A loaded KVM module that is none of the processor's: the software KVM `kvm_pvm`.
    public var softwareModule: String?
    /// `svm` or `vmx` among the processor's flags.
    public var virtualizationFlag: String?
    /// `kvm_intel` or `kvm_amd` when loaded or built in.
    public var hardwareModule: String?

    public init(device: KVMDevice, softwareModule: String? = nil, virtualizationFlag: String? = nil, hardwareModule: String? = nil) {
        self.device = device
        self.softwareModule = softwareModule
        self.virtualizationFlag = virtualizationFlag
        self.hardwareModule = hardwareModule
    }

    /// Reads `/dev/kvm`, `/proc/cpuinfo` and `/sys/module` below `root`.
    public static func read(root: String = "/") -> AcceleratorSignals {
        let root = root.hasSuffix("/") ? root : root + "/"
        func module(_ name: String) -> String? { FileManager.default.fileExists(atPath: root + "sys/module/" + name) ? name : nil }
        return AcceleratorSignals(
            device: device(at: root + "dev/kvm"), softwareModule: module("kvm_pvm"),
            virtualizationFlag: flag(cpuinfo: root + "proc/cpuinfo"),
            hardwareModule: module("kvm_intel") ?? module("kvm_amd"))
    }

    private static func device(at path: String) -> KVMDevice {
        do throws(SystemError) {
            let descriptor = try OwnedDescriptor(path: path, .readWrite)
            return .open(systemManagementMode: clibvirt_kvm_has_smm(descriptor.rawValue) > 0)
        } catch {
            return error.code == ENOENT || error.code == ENXIO || error.code == ENODEV ? .missing : .closed(errno: error.code)
        }
    }

    private static func flag(cpuinfo path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
        guard let flags = lines.first(where: { $0.hasPrefix("flags") }) else { return nil }
        let words = flags.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == ":" })
        return words.contains("vmx") ? "vmx" : words.contains("svm") ? "svm" : nil
    }
}
