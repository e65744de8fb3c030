internal import Glibc

/// Takes devices from the host's drivers for DD/OSs, and gives them back.
///
/// By hand, and not by libvirt's managed mode. That one unbinds the host's driver before it notes anywhere that it did, and runs inside
/// the supervisor, so a SIGKILL in between would strand the device; and it gives the device back to the host's driver between two lives, which
/// then probes what a crashed driver left behind. Here a device stays with vfio-pci from its DD/OS's start to its stop.
///
/// ```
/// take: journal 'taking' ─ driver_override = vfio-pci ─ unbind ─ drivers_probe ─ journal 'taken'
/// give: journal 'givingBack' ─ unbind ─ driver_override as before ─ drivers_probe ─ forget
/// ```
/// Every step can be repeated, so an interrupted sequence is finished by beginning it again, or undone by the other one.
public struct DeviceTaking: Sendable {
    public let journal: DeviceJournal
    let root: MachineRoot
    /// Called after each step: where tests play the kernel, and where a supervisor under test is killed. What it throws ends the sequence there.
    let afterStep: @Sendable (TakingStep) throws(TakingError) -> Void
    /// How long a driver may take to appear.
    let patienceSeconds: Double
    /// By name or modalias; nil when it is there, else why not.
    let loadModule: @Sendable (String) -> String?

    public init(
        journal: DeviceJournal, root: MachineRoot = MachineRoot(), patienceSeconds: Double = 15,
        afterStep: @escaping @Sendable (TakingStep) throws(TakingError) -> Void = { _ in },
        loadModule: @escaping @Sendable (String) -> String? = { KernelModule.load($0) }
    ) {
        self.journal = journal
        self.root = root
        self.patienceSeconds = patienceSeconds
        self.loadModule = loadModule
        self.afterStep = afterStep
    }

    static let driver = "vfio-pci"

    // MARK: looking

    /// What is in the way of taking this function now.
    public func obstacles(_ address: PCIAddress) throws(TakingError) -> (function: PCIFunction, obstacles: [Obstacle]) {
        let (function, _, obstacles) = try look(at: address)
        return (function, obstacles)
    }

    private func look(at address: PCIAddress) throws(TakingError) -> (PCIFunction, all: [PCIFunction], [Obstacle]) {
        // The journal first: what is given back meanwhile has its driver again before its entry goes.
        let taken = journal.addresses
        let all = try functions(inFull: address)
        guard let function = all.first(where: { $0.address == address }) else { throw .pci(.noSuchDevice(address: address)) }
        return (function, all, Obstacle.of(function, among: all, iommu: IOMMUState.read(root: root), taken: taken, root: root))
    }

    // MARK: taking

    /// Binds a function to vfio-pci for a DD/OS, or sees that it is. On return the journal and the kernel agree.
    ///
    /// - Parameters:
    ///   - forced: Also when the host is using it.
    ///   - claim: For who may give up waiting. Then nothing is taken, or it is given back.
    /// - Returns: The journal's entry, the function as it was before, and whether there was anything to do.
    @discardableResult
    public func take(
        _ address: PCIAddress, for owner: String, forced: Bool = false, claim: Claim = Claim()
    ) throws(TakingError) -> (TakenDevice, function: PCIFunction, changed: Bool) {
        try journal.locked(address) { () throws(TakingError) in
            let (function, all, obstacles) = try look(at: address)
            let standing = obstacles.filter { !(forced && $0.yieldsToForce) }
            guard standing.isEmpty else { throw .refused(address: address, name: function.name, obstacles: standing) }
            var entry = journal.entry(address).flatMap { $0.vendor == function.vendor && $0.device == function.device ? $0 : nil }
            if var known = entry, known.state == .taken, known.owner == owner, function.driver == Self.driver {
                // A driver_override that somebody took away would let another driver have it after a reset of the bus.
                if function.driverOverride != Self.driver { try write(Self.driver, to: attribute(address, "driver_override")) }
                known.owner = owner
                guard claim.make() else { throw .abandoned(address: address) }
                return (known, function, false)
            }
            try haveDriver()
            // What was taken before, and not given back to the end, keeps what it was taken from.
            let former = entry?.formerDriver ?? (entry == nil ? function.driver : nil)
            let override = entry?.formerOverride ?? (entry == nil ? function.driverOverride : nil)
            let new = TakenDevice(
                address: address, owner: owner, state: .taking, formerDriver: former, formerOverride: override, vendor: function.vendor,
                device: function.device, bootID: journal.bootID)
            try journal.locked { () throws(TakingError) in
                // Since it was looked at, another function of its group may have been taken.
                if let shared = Obstacle.sharedGroup(of: function, among: all, taken: journal.addresses) {
                    throw .refused(address: address, name: function.name, obstacles: [shared])
                }
                if claim.isAbandoned { throw .abandoned(address: address) }
                try journal.record(new)
            }
            try afterStep(.journalled)
            do throws(TakingError) {
                try bind(function)
            } catch {
                // Refused by the kernel: back to where it was. Interrupted: whoever comes next does it.
                if case .interrupted = error { throw error }
                _ = try? giveBackLocked(new, function)
                throw error
            }
            entry = new
            entry?.state = .taken
            guard let entry else { throw .interrupted(.bound) }
            try journal.record(entry)
            try afterStep(.taken)
            guard claim.make() else {
                try giveBackLocked(entry, function)
                throw .abandoned(address: address)
            }
            return (entry, function, true)
        }
    }

    private func bind(_ function: PCIFunction) throws(TakingError) {
        let address = function.address
        try write(Self.driver, to: attribute(address, "driver_override"))
        try afterStep(.overridden)
        if let driver = function.driver, driver != Self.driver {
            try write("\(address)", to: "sys/bus/pci/drivers/\(driver)/unbind")
        }
        try afterStep(.unbound)
        if function.driver != Self.driver { try write("\(address)", to: "sys/bus/pci/drivers_probe") }
        try afterStep(.bound)
        try wait(for: Self.driver, address)
    }
}
