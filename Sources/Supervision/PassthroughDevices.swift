import ControlModel
import Foundation
import Glibc
import PCIInventory

/// The supervisor's way to the host's devices: taking and giving back on a thread of its own, with a deadline, since a driver may take its
/// time to let go, or never do.
struct PassthroughDevices: Sendable {
    let taking: DeviceTaking
    /// Taken even when the host is using them.
    let forced: Set<PCIAddress>

    init(run: RunDirectory, forced: Set<PCIAddress>) {
        taking = DeviceTaking(journal: DeviceJournal(directory: run.devices), afterStep: Self.dieWhenAsked)
        self.forced = forced
    }

    /// For tests of what a SIGKILL leaves behind: the environment names a ``TakingStep`` after which this process dies.
    private static let dieWhenAsked: @Sendable (TakingStep) -> Void = { step in
        if ProcessInfo.processInfo.environment["DROVER_DIE_AFTER"] == step.rawValue { kill(getpid(), SIGKILL) }
    }

    /// - Returns: What was done, in words; nil when the device was taken already.
    func take(_ address: PCIAddress, for owner: String) async throws -> String? {
        let forced = forced.contains(address)
        return try await Errand.run(late: "the host's driver has not let go of \(address)") { [taking] claim in
            let (entry, function, changed) = try taking.take(address, for: owner, forced: forced, claim: claim)
            guard changed else { return nil }
            let former = entry.formerDriver.map { "taken from the host's driver \($0)" } ?? "taken; it had no driver"
            return
                "\(address) (\(function.name)) \(former); between lives it is reset by \(function.resetMethods.joined(separator: ", else "))"
        }
    }

    /// - Returns: What was done, in words; nil when it was not taken.
    func giveBack(_ address: PCIAddress) async throws -> String? {
        try await Errand.run(late: "the host's driver has not taken \(address) back") { [taking] claim in
            do {
                return try taking.giveBack(address, onlyJournalled: true, claim: claim).description
            } catch TakingError.notTaken {
                return nil
            }
        }
    }
}

extension PassthroughDevices {
    /// Puts back what nobody is going to use: of DD/OSs that are no longer configured or are stopped, and what an earlier supervisor was
    /// killed over. What is half taken goes back as well, and is taken anew: it may have no driver at all now.
    ///
    /// - Parameter users: The DD/OSs that run or are going to, with their devices.
    func settle(users: [PCIAddress: String], log: EventLog) async {
        do {
            try taking.journal.dropOtherBoots()
        } catch {
            log.append(.warning, explanation(of: error))
        }
        for path in taking.journal.unreadable {
            let address = ((path as NSString).lastPathComponent as NSString).deletingPathExtension
            log.append(
                .warning,
                "\(path) is damaged, so it is not known what \(address) was taken from; "
                    + "`drover release \(address)` leaves it to the kernel which driver gets it")
        }
        for entry in taking.journal.entries {
            if entry.state == .taken, users[entry.address] == entry.owner { continue }
            do {
                if let text = try await giveBack(entry.address) { log.append(.deviceReturned, text, ddos: entry.owner) }
            } catch {
                log.append(.warning, "\(explanation(of: error)); `drover release \(entry.address)` tries again", ddos: entry.owner)
            }
        }
    }
}
