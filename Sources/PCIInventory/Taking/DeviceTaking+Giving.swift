internal import Glibc

/// Giving back.
extension DeviceTaking {
    /// Gives a function back to the driver that it was taken from. Where another one of the host's has it by now, it stays with that.
    ///
    /// - Parameters:
    ///   - onlyJournalled: Only what the journal has; else also what vfio-pci has by an override of somebody's.
    ///   - claim: For who may give up waiting. Then it is not begun any more; what was begun goes on.
    @discardableResult
    public func giveBack(
        _ address: PCIAddress, onlyJournalled: Bool = false, claim: Claim = Claim()
    ) throws(TakingError) -> GivenBack {
        try journal.locked(address) { () throws(TakingError) in
            if claim.isAbandoned { throw .abandoned(address: address) }
            if onlyJournalled, journal.entry(address) == nil { throw .notTaken(address: address, driver: try driver(address)) }
            let function: PCIFunction
            do throws(PCIError) {
                function = try PCIInventory(root: root).function(at: address)
            } catch {
                // Unplugged: there is nothing to give back.
                if case .noSuchDevice = error, let entry = journal.entry(address) {
                    try journal.forget(address)
                    return GivenBack(address: address, driver: nil, formerDriver: entry.formerDriver)
                }
                throw .pci(error)
            }
            return try giveBackLocked(try whatWasTaken(function), function)
        }
    }

    /// The journal's entry, or what can be said without one.
    private func whatWasTaken(_ function: PCIFunction) throws(TakingError) -> TakenDevice {
        let address = function.address
        if let known = journal.entry(address) {
            guard known.vendor == function.vendor, known.device == function.device else {
                try journal.forget(address)
                throw .replaced(address: address, formerly: "\(padded(known.vendor, 4)):\(padded(known.device, 4))", now: function.name)
            }
            return known
        }
        // The journal is lost. What vfio-pci has by an override was given to it by somebody.
        guard function.driverOverride == Self.driver else {
            // What of the journal can't be read is of no use any more.
            try journal.forget(address)
            throw .notTaken(address: address, driver: function.driver)
        }
        return TakenDevice(
            address: address, owner: "", state: .taken, formerDriver: nil, formerOverride: nil, vendor: function.vendor,
            device: function.device, bootID: journal.bootID)
    }

    @discardableResult
    func giveBackLocked(_ entry: TakenDevice, _ function: PCIFunction) throws(TakingError) -> GivenBack {
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
        // An override that somebody else has written meanwhile is theirs. A newline alone takes one away.
        if root.text(attribute(address, "driver_override"))?.split(whereSeparator: \.isWhitespace).first == Self.driver[...] {
            try write(entry.formerOverride ?? "\n", to: attribute(address, "driver_override"))
        }
        try afterStep(.overrideRestored)
        let refusal = try rebind(entry, modalias: function.modalias)
        try afterStep(.rebound)
        let driver = try newDriver(entry, refusal)
        try journal.forget(address)
        try afterStep(.forgotten)
        return GivenBack(address: address, driver: driver, formerDriver: entry.formerDriver)
    }

    /// To the driver by name: with `drivers_probe` another one that fits could be quicker. Where the journal knows none, the kernel
    /// chooses, unless the function had none when it was taken.
    ///
    /// - Returns: Why the former driver does not take it, if it is known. The kernel may have found another one nevertheless.
    private func rebind(_ entry: TakenDevice, modalias: String) throws(TakingError) -> TakingError? {
        guard try driver(entry.address) == nil, entry.formerDriver != nil || entry.owner.isEmpty else { return nil }
        var refusal: TakingError?
        if let former = entry.formerDriver {
            refusal = haveFormerDriver(former, entry.address, modalias: modalias)
            // A module that is loaded looks for its devices.
            guard try driver(entry.address) == nil else { return nil }
            if refusal == nil {
                do throws(TakingError) {
                    try write("\(entry.address)", to: "sys/bus/pci/drivers/\(former)/bind")
                    return nil
                } catch {
                    // For instance a driver that was bound by a dynamic id, or an override.
                    refusal = error
                }
            }
        }
        // The kernel's choice is better than none.
        do throws(TakingError) {
            try write("\(entry.address)", to: "sys/bus/pci/drivers_probe")
        } catch {
            refusal = refusal ?? error
        }
        return refusal
    }

    /// Somebody may have unloaded its module meanwhile.
    private func haveFormerDriver(_ former: String, _ address: PCIAddress, modalias: String) -> TakingError? {
        let bind = "sys/bus/pci/drivers/\(former)/bind"
        if root.exists(bind) { return nil }
        let failure = loadModule(former)
        // A module may have another name than its driver: xhci_pci has xhci_hcd.
        if !root.exists(bind) { _ = loadModule(modalias) }
        return root.exists(bind) ? nil : .formerDriverGone(address: address, driver: former, reason: failure)
    }

    /// Waits until a driver has the function, if one should; any but vfio-pci will do.
    private func newDriver(_ entry: TakenDevice, _ refusal: TakingError?) throws(TakingError) -> String? {
        guard let former = entry.formerDriver else { return try driver(entry.address) }
        for _ in 0..<max(1, Int(patienceSeconds * 50)) {
            if let found = try driver(entry.address), found != Self.driver || former == Self.driver { return found }
            usleep(20_000)
        }
        throw try refusal ?? .notBound(address: entry.address, wanted: former, found: driver(entry.address))
    }
}
