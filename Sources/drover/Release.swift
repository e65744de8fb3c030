import ArgumentParser
import ControlAPI
import ControlModel
import PCIInventory

struct Release: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give a PCI device back to the host's driver that it was taken from.",
        discussion: """
            'drover stop' and 'drover down' do this by themselves. It is for what they could not finish, for a DD/OS in quarantine, and for a \
            machine whose supervisor is gone: it needs none.
            """)

    @Argument(help: "As in 'drover devices': 0000:01:00.0.") var address: PCIAddress
    @OptionGroup var supervisor: SupervisorOptions

    func run() async throws {
        let list = (try? await supervisor.withClient { try await $0.list() }) ?? []
        let idle: Set<DDOSPhase> = [.stopped, .quarantined]
        if let user = list.first(where: { PCIAddress($0.device) == address && !idle.contains($0.phase) }) {
            throw Complaint("\(user.name) has \(address) and is \(user.phase.rawValue); stop it first: drover stop \(user.name)", status: 5)
        }
        do {
            print(try DeviceTaking(journal: DeviceJournal(directory: supervisor.runDir + "/devices")).giveBack(address).description)
        } catch {
            if case .notTaken = error { throw Complaint("\(error).", status: 5) }
            throw Complaint("\(error).")
        }
    }
}
