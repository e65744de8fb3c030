import ArgumentParser
import Foundation

@main
struct DroverBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover-bench",
        abstract: "Measures the message path against other NBD servers.",
        discussion: """
            Starts a client stub and a server stub as two processes that share a memfd (no virtual machine), nbdkit's file plugin, \
            and qemu-nbd, each serving the same kind of file from the page cache. fio, through its nbd engine, works on one after the other, in \
            rounds; the figures are medians over the rounds. CPU is the time of all serving processes together, fio's excluded.
            """)

    @Option(help: "Rounds; every round runs every workload on every server.")
    var rounds = 5

    @Option(help: "Seconds of each run.")
    var seconds = 2.0

    @Option(help: "Size of the served file, in MiB.")
    var size = 512

    @Option(help: "Where the served files are. The default is memory, so that writing back to a disk disturbs nobody.")
    var directory = "/dev/shm"

    @Option(help: ArgumentHelp("Only workloads whose name contains this.", valueName: "text"))
    var only: String?

    @Option(help: ArgumentHelp("Only these servers, separated by commas: drover, nbdkit, qemu-nbd.", valueName: "names"))
    var servers = "drover,nbdkit,qemu-nbd"

    @Option(
        help: ArgumentHelp(
            "Where drover-client-stub and drover-server-stub are. The default is beside this program.", valueName: "directory"))
    var programs: String?

    @Flag(help: "Leave out the DD/OS at rest: no virtual machine is started, and no privilege is needed.")
    var noMachine = false

    @Option(help: "Seconds over which the DD/OS at rest is measured.")
    var rest = 30

    @Flag(help: "Print JSON instead of tables.")
    var json = false

    func validate() throws {
        guard rounds >= 1, seconds >= 0.2, size >= 16, rest >= 1 else {
            throw ValidationError("at least 1 round, 0.2 seconds, 16 MiB and 1 second of rest are needed")
        }
        for name in serverNames where ServerKind(rawValue: name) == nil {
            throw ValidationError("unknown server '\(name)': there are \(ServerKind.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard !workloads.isEmpty else { throw ValidationError("no workload's name contains '\(only ?? "")'") }
    }

    private var serverNames: [String] { servers.split(separator: ",").map(String.init) }

    private var workloads: [Workload] { Workload.all.filter { only == nil || $0.name.contains(only ?? "") } }

    func run() throws {
        let kinds = serverNames.compactMap(ServerKind.init(rawValue:))
        let stubs = programs ?? URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent().path
        let place = try WorkDirectory(in: directory)
        defer { place.remove() }
        do {
            let results = try measure(kinds, Surroundings(directory: place.path, programs: stubs, megabytes: size))
            if !json { print(results.table()) }
            var atRest: AtRest?
            if !noMachine {
                atRest = try AtRest.measure(programs: stubs, seconds: rest) { progress($0) }
                progress(nil)
            }
            if json { try print(results.json(atRest: atRest)) } else if let atRest { print("\n" + atRest.text) }
        } catch let failure as BenchFailure {
            FileHandle.standardError.write(Data("drover-bench: \(failure.text)\n".utf8))
            throw ExitCode.failure
        }
    }

    private func measure(_ kinds: [ServerKind], _ surroundings: Surroundings) throws -> Results {
        var results = Results(rounds: rounds, seconds: seconds, megabytes: size, servers: kinds)
        // All servers stay up for all rounds: who is not asked sleeps, and nobody pays for starting.
        var running: [RunningServer] = []
        defer { for server in running.reversed() { server.stop() } }
        for kind in kinds { running.append(try RunningServer(kind, surroundings)) }
        for round in 0..<rounds {
            for workload in workloads {
                // Another one begins each round, so that none always runs on a machine that the same one has warmed.
                for index in running.indices {
                    let server = running[(index + round) % running.count]
                    progress("round \(round + 1)/\(rounds): \(workload.name), \(server.kind.rawValue)")
                    let before = server.cpuSeconds()
                    let run = try Fio.run(workload, on: server, seconds: seconds)
                    let cpu = server.cpuSeconds() - before
                    results.add(
                        Measurement(
                            iops: run.iops, p50: run.p50, p99: run.p99,
                            cpuPerRequest: run.requests > 0 ? cpu * 1e6 / Double(run.requests) : 0),
                        workload, server.kind)
                }
            }
        }
        progress(nil)
        return results
    }

    private func progress(_ text: String?) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        FileHandle.standardError.write(Data("\r\u{1b}[K\(text ?? "")".utf8))
    }
}

/// A sentence for the person at the terminal.
struct BenchFailure: Error {
    let text: String
}

/// A directory of its own for sockets and files, removed at the end.
struct WorkDirectory {
    let path: String

    init(in parent: String) throws {
        var template = Array("\(parent)/drover-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw BenchFailure(text: "cannot make a directory in \(parent): \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
