import ControlAPI
import ControlModel
import Foundation

/// The demonstration. It works in two folders of its own: one for sockets and logs, one for the disks.
final class Demo: @unchecked Sendable {
    // @unchecked: `run` and `cleanUp` are called one after the other, never at once.
    private let stage: Stage
    private let mebibytes: Int
    private let runDirectory: String
    private let dataDirectory: String
    private let drover: String
    private let client: ControlClient
    private let network: NetworkScene
    private var workloads: [Workload] = []

    private let crashes: [(fault: InjectedFault, title: String)] = [
        (.panic, "the guest kernel of nvme0's driver panics"),
        (.kill, "kill -9 of nvme0's virtual machine"),
        (.hang, "nvme0's server stub hangs"),
    ]

    init(stage: Stage, mebibytes: Int) throws {
        self.stage = stage
        self.mebibytes = mebibytes
        runDirectory = "/run/drover-demo-\(getpid())"
        dataDirectory = "/var/tmp/drover-demo-\(getpid())"
        let own = (try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") as NSString).deletingLastPathComponent
        drover = own + "/drover"
        network = NetworkScene(mebibytes: max(32, mebibytes))
        client = ControlClient(socketPath: runDirectory + "/drover.sock")
    }

    func run() async throws {
        guard geteuid() == 0 else { throw DemoError("the demonstration starts virtual machines: run it as root ('sudo make demo').") }
        for directory in [runDirectory, dataDirectory] {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        }
        let file = dataDirectory + "/demo.yaml"
        try network.prepare()
        try configuration.write(toFile: file, atomically: true, encoding: .utf8)

        stage.scene("Two disks and a network card, each driven by an unmodified Debian driver in a virtual machine of its own")
        try await command(["up", "-f", file])
        let list = try await client.list()
        let uris = Dictionary(uniqueKeysWithValues: list.map { ($0.name, $0.frontEnds.flatMap(\.uris).first ?? "") })

        stage.scene("Programs on the host use both: \(mebibytes) MiB of random writes each, every block verified afterwards")
        for ddos in list where ddos.interface == nil {
            guard let uri = uris[ddos.name], !uri.isEmpty else { throw DemoError("\(ddos.name) has no NBD address.") }
            stage.line("fio → \(uri)")
            workloads.append(try Workload(name: ddos.name, uri: uri, mebibytes: mebibytes, rate: 700, directory: dataDirectory))
        }
        let events = Task { [client, stage] in
            let last = try await client.info().lastEvent
            for try await event in try await client.events(from: last + 1, follow: true) { stage.event(event) }
        }
        defer { events.cancel() }
        let rates = Task { try await showRates() }
        defer { rates.cancel() }
        try await Task.sleep(for: .seconds(3))
        for crash in crashes {
            stage.scene(crash.title.prefix(1).uppercased() + crash.title.dropFirst())
            try await self.crash(crash.fault)
            try await Task.sleep(for: .seconds(3))
        }
        stage.scene("Every block is read back and checked")
        try await untilWorkloadsEnd()
        rates.cancel()
        stage.scene("A TCP transfer through eth0's driver, and kill -9 of its virtual machine in the middle")
        try await network.run(client, stage)
        try await showResults()
    }

    private var configuration: String {
        let size = max(128, mebibytes)
        return """
            ddos:
              nvme0:
                class: block
                device: { emulated: nvme, backing: { file: \(dataDirectory)/nvme0.img, size: \(size)MiB } }
                image: debian-6.1
                frontends: [ nbd ]
              sata0:
                class: block
                device: { emulated: ahci, backing: { file: \(dataDirectory)/sata0.img, size: \(size)MiB } }
                image: debian-6.1
                frontends: [ nbd ]

            """ + network.configuration
    }

    private func crash(_ fault: InjectedFault) async throws {
        let last = try await client.info().lastEvent
        try await client.inject("nvme0", fault)
        let recovered = try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask { [client] in
                for try await event in try await client.events(from: last + 1, follow: true) where event.ddos == "nvme0" {
                    if event.kind == .recovered { return true }
                }
                return false
            }
            group.addTask {
                try await Task.sleep(for: .seconds(90))
                return false
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
        }
        guard recovered else { throw DemoError("nvme0 did not recover from \(fault.rawValue) within 90 s.") }
    }

    /// Requests a second of both disks, once a second.
    private func showRates() async throws {
        var last: [String: UInt64] = [:]
        while !Task.isCancelled {
            var parts: [String] = []
            for name in ["nvme0", "sata0"] {
                let completed = try await client.inspect(name).requests?.completed ?? last[name] ?? 0
                let rate = completed &- (last[name] ?? completed)
                last[name] = completed
                let bar = String(repeating: "▪", count: Int(min(24, rate / 50)))
                parts.append("\(name) \(bar.padding(toLength: 24, withPad: " ", startingAt: 0)) \(rate)/s")
            }
            stage.line("    " + parts.joined(separator: "    "))
            try await Task.sleep(for: .seconds(1))
        }
    }

    private func untilWorkloadsEnd() async throws {
        let deadline = ContinuousClock.now + .seconds(180)
        while workloads.contains(where: \.isRunning) {
            guard ContinuousClock.now < deadline else { throw DemoError("fio did not end within 180 s.") }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func showResults() async throws {
        stage.scene("What happened")
        let detail = try await client.inspect("nvme0")
        for recovery in detail.recoveries {
            stage.show(
                "  nvme0 life \(recovery.generation) ended (\(recovery.cause.rawValue)): old VM gone after "
                    + "\(milliseconds(recovery.fencedSeconds)), new VM after \(milliseconds(recovery.startedSeconds)), "
                    + "requests again after \(milliseconds(recovery.readySeconds)), \(recovery.replayed) replayed")
        }
        var lost = 0
        for workload in workloads {
            let result = try workload.result()
            lost += result.errors
            let verdict = result.errors == 0 ? stage.green("0 errors, 0 mismatches") : stage.red("\(result.errors) errors or mismatches")
            stage.show(
                "  \(workload.name): \(result.writes) acknowledged writes, \(result.reads) blocks read back: \(verdict); "
                    + "the slowest write took \(milliseconds(result.slowestWrite))")
        }
        stage.scene("What it costs ('drover report')")
        try await command(["report"])
        guard lost == 0 else { throw DemoError("data was lost or clients saw errors: see above.") }
        let other = try await client.inspect("sata0").summary
        guard other.restarts == 0 else { throw DemoError("sata0 was restarted \(other.restarts) times; it should not have noticed.") }
        guard detail.recoveries.count == crashes.count else {
            throw DemoError("nvme0 recovered \(detail.recoveries.count) times, not \(crashes.count).")
        }
    }

    private func milliseconds(_ seconds: Double) -> String {
        seconds < 1 ? String(format: "%.0f ms", seconds * 1000) : String(format: "%.1f s", seconds)
    }

    /// Runs `drover` with these arguments and shows what it prints.
    private func command(_ arguments: [String]) async throws {
        stage.show("  $ drover " + arguments.joined(separator: " "))
        let process = Process()
        process.executableURL = URL(filePath: drover)
        process.arguments = arguments + ["--run-dir", runDirectory]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        while process.isRunning { try await Task.sleep(for: .milliseconds(20)) }
        guard process.terminationStatus == 0 else { throw DemoError("'drover \(arguments[0])' failed; its message is above.") }
    }

    /// Stops everything; also after an error.
    func cleanUp() async {
        for workload in workloads { workload.kill() }
        do {
            try await client.down()
        } catch {
            if error.body.code != .unavailable { FileHandle.standardError.write(Data("drover-demo: \(error)\n".utf8)) }
        }
        await client.shutdown()
        network.cleanUp()
    }

    /// No process names our folders any more; then they go too.
    func checkNothingIsLeft() throws {
        for _ in 0..<50 where !processesLeft().isEmpty { usleep(100_000) }
        let left = processesLeft()
        guard left.isEmpty else { throw DemoError("left behind: \(left.joined(separator: "; "))") }
        for directory in [runDirectory, dataDirectory] { try FileManager.default.removeItem(atPath: directory) }
    }

    private func processesLeft() -> [String] {
        let pids = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        return pids.filter { $0 != getpid() }.compactMap { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"), !data.isEmpty else { return nil }
            let text = String(decoding: data, as: UTF8.self).replacingOccurrences(of: "\0", with: " ")
            return text.contains(runDirectory) || text.contains(dataDirectory) ? "\(pid) \(text.prefix(80))" : nil
        }
    }
}
