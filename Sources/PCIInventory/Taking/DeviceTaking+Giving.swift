/// Giving back.
extension DeviceTaking {
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
                    device: function.device, bootID: journal.bootID)
            }
            return try giveBackLocked(entry, function)
        }
    }

    func giveBackLocked(_ entry: TakenDevice, _ function: PCIFunction) throws(TakingError) -> String? {
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
}
