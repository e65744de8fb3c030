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

    public init(
        journal: DeviceJournal, root: MachineRoot = MachineRoot(), patienceSeconds: Double = 15,
        afterStep: @escaping @Sendable (TakingStep) throws(TakingError) -> Void = { _ in }
    ) {
        self.journal = journal
        self.root = root
        self.patienceSeconds = patienceSeconds
        self.afterStep = afterStep
    }

    static let driver = "vfio-pci"

    // MARK: looking

    /// What is in the way of taking this function now.
    public func obstacles(_ address: PCIAddress) throws(TakingError) -> (function: PCIFunction, obstacles: [Obstacle]) {
        let all = try functions()
        guard let function = all.first(where: { $0.address == address }) else { throw .pci(.noSuchDevice(address: address)) }
        let taken = Set(journal.entries.map(\.address))
        return (function, Obstacle.of(function, among: all, iommu: IOMMUState.read(root: root), taken: taken, root: root))
    }

    // MARK: taking

    /// Binds a function to vfio-pci for a DD/OS, or sees that it is. On return the journal and the kernel agree.
    ///
    /// - Parameter forced: Also when the host is using it.
    /// - Returns: The journal's entry, and whether there was anything to do.
    @discardableResult
    public func take(_ address: PCIAddress, for owner: String, forced: Bool = false) throws(TakingError) -> (TakenDevice, changed: Bool) {
        try journal.locked { () throws(TakingError) in
            let (function, obstacles) = try obstacles(address)
            let standing = obstacles.filter { !(forced && $0.yieldsToForce) }
            guard standing.isEmpty else { throw .refused(address: address, name: function.name, obstacles: standing) }
            var entry = journal.entry(address).flatMap { $0.vendor == function.vendor && $0.device == function.device ? $0 : nil }
            if var known = entry, known.state == .taken, known.owner == owner, function.driver == Self.driver {
                // A driver_override that somebody took away would let another driver have it after a reset of the bus.
                if function.driverOverride != Self.driver { try write(Self.driver, to: attribute(address, "driver_override")) }
                known.owner = owner
                return (known, false)
            }
            try haveDriver()
            // What was taken before, and not given back to the end, keeps what it was taken from.
            let former = entry?.formerDriver ?? (entry == nil ? function.driver : nil)
            let override = entry?.formerOverride ?? (entry == nil ? function.driverOverride : nil)
            let new = TakenDevice(
                address: address, owner: owner, state: .taking, formerDriver: former, formerOverride: override, vendor: function.vendor,
                device: function.device)
            try journal.record(new)
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
            return (entry, true)
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

    // MARK: giving back

    /// Gives a function back to the driver that it was taken from.
    ///
    /// - Returns: The driver that has it now.
    @discardableResult
    public func giveBack(_ address: PCIAddress) throws(TakingError) -> String? {
        try journal.locked { () throws(TakingError) in
            let function: PCIFunction
            do throws(PCIError) {
                function = try PCIInventory(root: root).function(at: address)
            } catch {
                // Unplugged: there is nothing to give back.
                if case .noSuchDevice = error, journal.entry(address) != nil {
                    try journal.forget(address)
                    return nil
                }
                throw .pci(error)
            }
            let entry: TakenDevice
            if let known = journal.entry(address) {
                guard known.vendor == function.vendor, known.device == function.device else {
                    try journal.forget(address)
                    throw .replaced(address: address, formerly: "\(padded(known.vendor, 4)):\(padded(known.device, 4))", now: function.name)
                }
                entry = known
            } else {
                // The journal is lost. What vfio-pci has by an override was given to it by somebody.
                guard function.driverOverride == Self.driver else { throw .notTaken(address: address, driver: function.driver) }
                entry = TakenDevice(
                    address: address, owner: "", state: .taken, formerDriver: nil, formerOverride: nil, vendor: function.vendor,
                    device: function.device)
            }
            return try giveBackLocked(entry, function)
        }
    }

    private func giveBackLocked(_ entry: TakenDevice, _ function: PCIFunction) throws(TakingError) -> String? {
        let address = entry.address
        let current = try driver(address)
        // Unbinding what a VMM has open would wait for the VMM, without end.
        if current == Self.driver, let group = function.iommuGroup, root.isBusy("dev/vfio/\(group)") {
            throw .busy(address: address, group: group)
        }
        var giving = entry
        giving.state = .givingBack
        try journal.record(giving)
        try afterStep(.givingJournalled)
        if current == Self.driver, entry.formerDriver != Self.driver {
            try write("\(address)", to: "sys/bus/pci/drivers/\(Self.driver)/unbind")
        }
        try afterStep(.released)
        // A newline alone takes an override away.
        try write(entry.formerOverride ?? "\n", to: attribute(address, "driver_override"))
        try afterStep(.overrideRestored)
        try rebind(entry)
        try afterStep(.rebound)
        if let former = entry.formerDriver { try wait(for: former, address) }
        try journal.forget(address)
        try afterStep(.forgotten)
        return try driver(address)
    }

    /// To the driver by name: with `drivers_probe` another one that fits could be quicker. Where the journal knows none, the kernel chooses,
    /// unless the function had none when it was taken.
    private func rebind(_ entry: TakenDevice) throws(TakingError) {
        let present = try driver(entry.address)
        guard present == nil else { return }
        if let former = entry.formerDriver, root.exists("sys/bus/pci/drivers/\(former)/bind") {
            do throws(TakingError) {
                return try write("\(entry.address)", to: "sys/bus/pci/drivers/\(former)/bind")
            } catch {
                // For instance a driver that was bound by a dynamic id, or an override. The kernel's choice is better than none.
                try write("\(entry.address)", to: "sys/bus/pci/drivers_probe")
                throw error
            }
        }
        if entry.formerDriver != nil || entry.owner.isEmpty { try write("\(entry.address)", to: "sys/bus/pci/drivers_probe") }
    }

    // MARK: sysfs

    private func functions() throws(TakingError) -> [PCIFunction] {
        do {
            return try PCIInventory(root: root).functions()
        } catch {
            throw .pci(error)
        }
    }

    private func driver(_ address: PCIAddress) throws(TakingError) -> String? {
        do {
            return try linkName(root.path(of: attribute(address, "driver")))
        } catch {
            throw .pci(error)
        }
    }

    private func attribute(_ address: PCIAddress, _ name: String) -> String { "sys/bus/pci/devices/\(address)/\(name)" }

    private func wait(for wanted: String, _ address: PCIAddress) throws(TakingError) {
        for _ in 0..<max(1, Int(patienceSeconds * 50)) {
            if try driver(address) == wanted { return }
            usleep(20_000)
        }
        throw .notBound(address: address, wanted: wanted, found: try driver(address))
    }

    private func write(_ value: String, to name: String) throws(TakingError) {
        let path = root.path(of: name)
        // As a shell does: sysfs has nothing to truncate, plain files do.
        let descriptor = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard descriptor >= 0 else { throw .sysfs(path: path, value: shown(value), errno: errno) }
        defer { close(descriptor) }
        let bytes = Array(value.utf8)
        // An attribute takes its value in one write.
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw .sysfs(path: path, value: shown(value), errno: errno)
        }
    }

    private func shown(_ value: String) -> String { value == "\n" ? "" : value }

    private func haveDriver() throws(TakingError) {
        if root.exists("sys/bus/pci/drivers/\(Self.driver)") { return }
        if let failure = KernelModule.load("vfio-pci") { throw .noDriver(failure) }
        guard root.exists("sys/bus/pci/drivers/\(Self.driver)") else { throw .noDriver("this kernel has no driver of that name") }
    }
}

extension MachineRoot {
    /// Whether a VFIO group's file is open somewhere: the kernel gives it away once.
    func isBusy(_ name: String) -> Bool {
        let descriptor = open(path(of: name), O_RDWR | O_CLOEXEC)
        if descriptor >= 0 {
            close(descriptor)
            return false
        }
        return errno == EBUSY
    }
}
