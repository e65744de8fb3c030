internal import Glibc

/// Why nothing could be learnt about a PCI device.
public enum PCIError: Error, Sendable, Equatable {
    /// PCI can't be read here at all.
    case unavailable(reason: String)
    case noSuchDevice(address: PCIAddress)
    /// The function is in no IOMMU group: there is no IOMMU, or it is off.
    case noIOMMU(address: PCIAddress)
    /// A file of sysfs that should be there can't be read.
    case unreadable(path: String, errno: Int32)
}

extension PCIError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unavailable(let reason): "PCI devices can't be read: \(reason)"
        case .noSuchDevice(let address): "there is no PCI device at \(address); `lspci -D` shows what there is"
        case .noIOMMU(let address):
            "the PCI device \(address) is in no IOMMU group; switch the IOMMU on: `drover doctor` says how"
        case .unreadable(let path, let errno):
            "can't read \(path): \(strerror(errno).map { String(cString: $0) } ?? "error \(errno)")"
        }
    }
}
