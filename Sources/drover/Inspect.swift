import ControlAPI
import ArgumentParser
import ControlModel
import Foundation

struct Inspect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show everything about one DD/OS.",
        discussion: "Its device, image, processes, front ends, settings, request counters, failures and recoveries.")

    @OptionGroup var target: NameArgument
    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try output.print(try await supervisor.withClient { try await $0.inspect(target.name) }, text: Self.text)
    }

    static func text(_ detail: DDOSDetail) -> String {
        let summary = detail.summary
        var lines: [String] = []
        func line(_ key: String, _ value: String) {
            lines.append("\(key):".padding(toLength: 18, withPad: " ", startingAt: 0) + value)
        }
        line("name", summary.name)
        line("phase", summary.status.isEmpty ? summary.phase.rawValue : "\(summary.phase.rawValue): \(summary.status)")
        line("device", "\(summary.device), class \(summary.deviceClass)")
        line(
            "image",
            [summary.image, detail.kernelVersion.map { "Linux \($0)" }, detail.imageHash.map { String($0.prefix(12)) }].compactMap(\.self)
                .joined(separator: ", "))
        line("machine", "\(detail.memoryMiB) MiB, \(detail.vcpus) vCPU, \(detail.accelerator), vsock address \(detail.cid)")
        line("life", "\(summary.generation), \(summary.restarts) restarts")
        if let uptime = summary.uptimeSeconds { line("ready for", Figures.duration(uptime)) }
        if let pid = summary.vmmPID { line("VMM", "process \(pid)") }
        if let pid = summary.stubPID { line("client stub", "process \(pid)") }
        for disk in summary.disks {
            line("disk", "\(disk.name), \(Figures.bytes(disk.size)), blocks of \(disk.blockSize) B\(disk.readOnly ? ", read-only" : "")")
        }
        for frontEnd in summary.frontEnds {
            line("front end", "\(frontEnd.kind) \(frontEnd.path)")
            for uri in frontEnd.uris { line("", uri) }
        }
        if let interface = summary.interface {
            line("interface", Net.place(interface))
            line("NIC", "\(interface.driver ?? "-"), \(interface.mac ?? "-"), MTU \(interface.mtu.map { "\($0)" } ?? "-")")
            line("link", Net.link(interface) + "; more with 'drover net \(summary.name)'")
        } else if let requests = detail.requests {
            line(
                "requests",
                "\(requests.completed) completed, \(requests.failed) failed, \(requests.replayed) replayed, "
                    + "\(requests.inFlight) in flight, \(requests.held) held")
            line("data", "\(Figures.bytes(requests.bytesRead)) read, \(Figures.bytes(requests.bytesWritten)) written")
            line("doorbells", "\(requests.doorbellsSent) sent, \(requests.doorbellsReceived) received")
            line("clients", "\(requests.clients)")
        }
        if let start = detail.lastStart {
            line("last start", "life \(start.generation), \(Figures.duration(start.total))")
            for step in start.steps { line("  " + step.name, Figures.duration(step.seconds)) }
        }
        line("console", detail.consoleLog)
        line("stub log", detail.stubLog)
        for (key, value) in detail.settings.sorted(by: { $0.key < $1.key }) { line("  " + key, value) }
        if !detail.recoveries.isEmpty {
            var table = Table([
                .text("RECOVERY AT"), .figure("LIFE"), .text("CAUSE"), .figure("FENCED"), .figure("STARTED"), .figure("READY"),
                .figure("REPLAYED"), .text("REASON"),
            ])
            for recovery in detail.recoveries {
                table.add(
                    Figures.time(recovery.noticed), "\(recovery.generation)", recovery.cause.rawValue,
                    Figures.duration(recovery.fencedSeconds), Figures.duration(recovery.startedSeconds),
                    Figures.duration(recovery.readySeconds), "\(recovery.replayed)", recovery.reason)
            }
            lines += ["", table.text]
        }
        if !detail.lastConsoleLines.isEmpty {
            lines += ["", "last lines of the console:"] + detail.lastConsoleLines.map { "  " + $0 }
        }
        return lines.joined(separator: "\n")
    }
}
