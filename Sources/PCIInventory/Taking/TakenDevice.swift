/// What the journal knows of a device that was taken from the host.
public struct TakenDevice: Sendable, Equatable, Codable {
    public enum State: String, Sendable, Codable {
        /// On its way to vfio-pci: any of the steps may have been done.
        case taking
        case taken
        /// On its way back.
        case givingBack
    }

    public var address: PCIAddress
    /// The DD/OS that it was taken for.
    public var owner: String
    public var state: State
    /// The driver that it was taken from, and will be given back to; nil if it had none.
    public var formerDriver: String?
    /// Its driver_override before; nil if it had none.
    public var formerOverride: String?
    /// To notice another device in the same place.
    public var vendor: UInt16
    public var device: UInt16
    /// The kernel's, when it was taken: bindings and overrides don't outlive a boot. Nil: unknown.
    public var bootID: String?
}

/// The steps of taking and giving back, in order. After each a supervisor may be killed, and the next one brings it to an end.
public enum TakingStep: String, Sendable, CaseIterable {
    // Taking.
    case journalled
    case overridden
    case unbound
    case bound
    case taken
    // Giving back.
    case givingJournalled
    case released
    case overrideRestored
    case rebound
    case forgotten
}

/// Why a device could not be taken or given back. The description is a sentence without its full stop.
public enum TakingError: Error, Sendable, Equatable {
    case pci(PCIError)
    case refused(address: PCIAddress, name: String, obstacles: [Obstacle])
    case noDriver(String)
    case journal(operation: String, path: String, errno: Int32)
    /// Writing to sysfs failed.
    case sysfs(path: String, value: String, errno: Int32)
    /// The kernel took the request, and then it was not so.
    case notBound(address: PCIAddress, wanted: String, found: String?)
    /// What it was taken from is not in the kernel any more.
    case formerDriverGone(address: PCIAddress, driver: String, reason: String?)
    /// A virtual machine has it.
    case busy(address: PCIAddress, group: Int)
    /// Somebody else has been at it for a long time.
    case occupied(address: PCIAddress)
    /// Who asked for it does not wait any more.
    case abandoned(address: PCIAddress)
    case replaced(address: PCIAddress, formerly: String, now: String)
    case notTaken(address: PCIAddress, driver: String?)
    case interrupted(TakingStep)
}

extension TakingError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .pci(let error): "\(error)"
        case .refused(let address, let name, let obstacles):
            "\(address) (\(name)) is not taken: "
                + obstacles.map { obstacle in
                    let force = obstacle.yieldsToForce ? "; or take it all the same, with --force \(address)" : ""
                    return obstacle.reason + (obstacle.remedy.map { " (\($0)\(force))" } ?? "")
                }.joined(separator: "; ")
        case .noDriver(let reason): "the kernel's module vfio-pci cannot be loaded: \(reason)"
        case .journal(let operation, let path, let code):
            "cannot \(operation) \(path): \(reasonText(code)); no device is touched without it"
        case .sysfs(let path, let value, let code): "the kernel refused '\(value)' for \(path): \(reasonText(code))"
        case .notBound(let address, let wanted, let found):
            "\(address) should now have the driver \(wanted), and has \(found ?? "none"); the kernel's log (dmesg) tells why"
        case .formerDriverGone(let address, let driver, let reason):
            "\(address) should go back to the driver \(driver), which the kernel no longer has"
                + (reason.map { " (\($0))" } ?? "") + "; install or load its module, and run 'drover release \(address)'"
        case .busy(let address, let group):
            "\(address) cannot be given back: a virtual machine has its IOMMU group \(group) open; stop the DD/OS first ('drover down')"
        case .occupied(let address):
            "\(address) is just being taken or given back, and that comes to no end; the kernel's log (dmesg) may tell why"
        case .abandoned(let address): "nobody waits for \(address) any more"
        case .replaced(let address, let formerly, let now):
            "at \(address) there was a device \(formerly) and now is \(now); the entry of the journal is dropped"
        case .notTaken(let address, let driver):
            "\(address) was not taken by Drover: it has \(driver.map { "the driver \($0)" } ?? "no driver")"
        case .interrupted(let step): "interrupted after the step '\(step.rawValue)'"
        }
    }
}
