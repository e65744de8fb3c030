import ControlAPI
import ArgumentParser
import ControlModel

struct Ps: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the DD/OSs.",
        discussion: "PHASE is one of stopped, preparing, starting, booting, ready, fencing, backingOff, quarantined, stopping.")

    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var output: OutputOptions
    @Flag(name: .long, help: "Print the names only, one a line.") var names = false

    func run() async throws {
        let list = try await supervisor.withClient { try await $0.list() }
        if names {
            for ddos in list { print(ddos.name) }
            return
        }
        try output.print(list, text: Self.table)
    }

    static func table(_ list: [DDOSSummary]) -> String {
        var table = Table([
            .text("NAME"), .text("PHASE"), .text("DEVICE"), .text("IMAGE"), .figure("LIFE"), .figure("RESTARTS"), .text("UP"),
            .text("OFFERS"), .text("STATUS"),
        ])
        for ddos in list {
            var offers = ddos.disks.map { "\($0.name) \(Figures.bytes($0.size))\($0.readOnly ? " ro" : "")" }.joined(separator: ", ")
            if let interface = ddos.interface { offers = Net.place(interface) + (interface.hasCarrier == false ? ", no link" : "") }
            table.add(
                ddos.name, ddos.phase.rawValue, ddos.device, ddos.image, "\(ddos.generation)", "\(ddos.restarts)",
                ddos.uptimeSeconds.map(Figures.duration) ?? "-", offers.isEmpty ? "-" : offers, ddos.status)
        }
        return table.text
    }
}
