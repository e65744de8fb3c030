import ArgumentParser
import ControlAPI
import ControlModel
import Foundation

struct Net: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show or change the NIC of a network DD/OS.",
        discussion: """
            drover net NAME [--json]                the NIC as its driver describes it: link, settings, counters, statistics
            drover net NAME set SETTING...          change it

            SETTINGS
              mtu=9000                              bytes of payload of a frame
              mac=52:54:00:12:34:56                 the NIC's address
              ring=rx:1024,tx:1024                  descriptors in the NIC's rings
              coalesce=rx-usecs:50,tx-usecs:50      how long interrupts are held back; also rx-frames, tx-frames
              promiscuous=on                        on or off

            The driver's VM answers, apart from the path of packets. The host's interface follows the NIC's MTU and address. What is changed \
            holds for every life of the DD/OS, until 'drover down'; what should hold longer belongs into the configuration ('settings:'). \
            What the driver refuses is left as it was.

            With --json: one object; sizes in bytes, speed in Mbit/s, absent values left out.
            """)

    @OptionGroup var target: NameArgument
    @Argument(help: "'set' and what to set.") var words: [String] = []
    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let detail: InterfaceDetail
        if words.isEmpty {
            detail = try await supervisor.withClient { try await $0.interface(target.name) }
        } else {
            guard words[0] == "set" else {
                throw Complaint(
                    "'\(words[0])' cannot be done to a NIC; 'drover net \(target.name) set mtu=9000' sets something.", status: 2)
            }
            let change = try InterfaceChange(parsing: Array(words.dropFirst()))
            detail = try await supervisor.withClient { try await $0.change(target.name, change) }
        }
        try output.print(detail, text: Self.text)
    }

    static func text(_ detail: InterfaceDetail) -> String {
        var lines: [String] = []
        func line(_ key: String, _ value: String) {
            lines.append("\(key):".padding(toLength: 18, withPad: " ", startingAt: 0) + value)
        }
        let interface = detail.interface
        line("name", "\(detail.ddos), \(detail.phase.rawValue)")
        line("interface", Self.place(interface))
        line(
            "driver",
            [interface.driver ?? "-", detail.driverVersion, detail.firmwareVersion.isEmpty ? "" : "firmware \(detail.firmwareVersion)"]
                .filter { !$0.isEmpty }.joined(separator: ", "))
        line("device", detail.busInfo.isEmpty ? "-" : detail.busInfo)
        let own = detail.permanentMAC.isEmpty || detail.permanentMAC == interface.mac ? "" : " (its own: \(detail.permanentMAC))"
        line("MAC address", (interface.mac ?? "-") + own)
        line("MTU", "\(interface.mtu.map { "\($0)" } ?? "-") (\(detail.smallestMTU) to \(detail.largestMTU))")
        line("link", Self.link(interface, isFullDuplex: detail.isFullDuplex))
        line("promiscuous", detail.isPromiscuous ? "on" : "off")
        if let ring = detail.ring {
            line("rings", "rx \(ring.receive) of \(ring.receiveMost), tx \(ring.transmit) of \(ring.transmitMost)")
        }
        if let hold = detail.coalescing {
            let parts = [
                ("rx-usecs", hold.receiveMicroseconds), ("rx-frames", hold.receiveFrames), ("tx-usecs", hold.transmitMicroseconds),
                ("tx-frames", hold.transmitFrames),
            ]
            line("coalescing", parts.compactMap { name, value in value.map { "\(name) \($0)" } }.joined(separator: ", "))
        }
        let packets = detail.packets
        line("to the host", "\(packets.receivedPackets) packets, \(Figures.bytes(packets.receivedBytes))")
        line("to the wire", "\(packets.sentPackets) packets, \(Figures.bytes(packets.sentBytes))")
        line("dropped", "\(packets.droppedPackets) packets")
        if !detail.statistics.isEmpty {
            lines += ["", "the driver's statistics:"]
            let width = detail.statistics.map(\.name.count).max() ?? 0
            for statistic in detail.statistics {
                lines.append("  " + (statistic.name + ":").padding(toLength: width + 2, withPad: " ", startingAt: 0) + "\(statistic.value)")
            }
        }
        return lines.joined(separator: "\n")
    }

    /// `dr-eth0 in br0, namespace lab`
    static func place(_ interface: InterfaceSummary) -> String {
        interface.name + (interface.bridge.map { " in \($0)" } ?? "") + (interface.namespace.map { ", namespace \($0)" } ?? "")
    }

    /// `connected, 1000 Mbit/s, full duplex`
    static func link(_ interface: InterfaceSummary, isFullDuplex: Bool? = nil) -> String {
        guard let hasCarrier = interface.hasCarrier else { return "-" }
        guard hasCarrier else { return "not connected" }
        let parts = [
            "connected", interface.speed.map { "\($0) Mbit/s" }, isFullDuplex.map { $0 ? "full duplex" : "half duplex" },
        ]
        return parts.compactMap(\.self).joined(separator: ", ")
    }
}
