import ControlAPI
import ArgumentParser
import ControlModel

struct Report: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each DD/OS costs.",
        discussion: """
            CPU time is split into the guest (vCPU threads), the rest of the VMM, and the client stub. CPU % is of one CPU, MACHINE % of \
            all. LOST is the time without a session because of failures. Without --interval: since the DD/OSs were first started.
            """)

    @OptionGroup var supervisor: SupervisorOptions
    @OptionGroup var output: OutputOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("Measure for this many seconds (0.1 to 3600).", valueName: "seconds"))
    var interval: Double?

    func validate() throws {
        if let interval, !(0.1...3600).contains(interval) { throw ValidationError("--interval takes 0.1 to 3600 seconds.") }
    }

    func run() async throws {
        try output.print(try await supervisor.withClient { try await $0.report(interval: interval) }, text: Self.table)
    }

    static func table(_ report: CPUReport) -> String {
        var table = Table([
            .text("NAME"), .text("PHASE"), .figure("vCPU s"), .figure("VMM s"), .figure("STUB s"), .figure("CPU %"), .figure("MACHINE %"),
            .figure("REQUESTS"), .figure("CPU/REQUEST"), .figure("GUEST"), .figure("VMM"), .figure("STUB"), .figure("UP"),
            .figure("RESTARTS"), .figure("LOST"),
        ])
        for ddos in report.ddos {
            table.add(
                ddos.name, ddos.phase.rawValue, Figures.fixed(ddos.cpu.vcpuSeconds, 2), Figures.fixed(ddos.cpu.vmmSeconds, 2),
                Figures.fixed(ddos.cpu.stubSeconds, 2), Figures.percent(ddos.cpu.shareOfOneCPU),
                Figures.percent(ddos.cpu.shareOfMachine), "\(ddos.requests)",
                ddos.cpuMicrosecondsPerRequest.map { Figures.fixed($0, 1) + " µs" } ?? "-", Figures.bytes(ddos.guestBytes),
                Figures.bytes(ddos.vmmBytes), Figures.bytes(ddos.stubBytes), ddos.uptimeSeconds.map(Figures.duration) ?? "-",
                "\(ddos.restarts)", Figures.duration(ddos.lostSeconds))
        }
        func sum(_ name: String, _ cpu: CPUUsage) {
            table.add(
                name, "", Figures.fixed(cpu.vcpuSeconds, 2), Figures.fixed(cpu.vmmSeconds, 2), Figures.fixed(cpu.stubSeconds, 2),
                Figures.percent(cpu.shareOfOneCPU), Figures.percent(cpu.shareOfMachine), "", "", "", "", "", "", "", "")
        }
        if let mean = report.mean { sum("mean per DD/OS", mean) }
        let own = report.supervisor
        table.add(
            "droverd", "", "", "", Figures.fixed(own.cpuSeconds, 2), Figures.percent(own.shareOfOneCPU),
            Figures.percent(own.shareOfOneCPU / Double(max(1, report.processors))), "", "", "", Figures.bytes(own.residentBytes), "",
            Figures.duration(own.uptimeSeconds), "", "")
        sum("total", report.total)
        return "over \(Figures.duration(report.intervalSeconds)) on \(report.processors) CPUs\n" + table.text
    }
}
