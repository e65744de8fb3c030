import ArgumentParser
import Foundation

struct FiguresCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "figures",
        abstract: "The message path against other NBD servers, DD/OSs' starts and cost, and the network path.",
        discussion: """
            Starts a client stub and a server stub as two processes that share a memfd (no virtual machine), nbdkit's file plugin, \
            and qemu-nbd, each serving the same kind of file from the page cache. fio, through its nbd engine, works on one after the other, in \
            rounds; the figures are medians over the rounds. CPU is the time of all serving processes together, fio's excluded. \
            The ratio is taken within each round, against the peer with the higher median, and printed with its lowest and highest value: \
            what else the machine does shows there. The aim is a median of 0.80 at depth 1 and of 1.00 elsewhere. When one of the aims \
            printed at the end is missed, the exit status is 1.
            """)

    @Option(help: "Rounds; every round runs every workload on every server.")
    var rounds = 9

    @Option(help: "Seconds of each run.")
    var seconds = 1.0

    @Option(help: "Size of the served file, in MiB.")
    var size = 512

    @Option(help: "Where the served files are. The default is memory, so that writing back to a disk disturbs nobody.")
    var directory = "/dev/shm"

    @Option(help: ArgumentHelp("Only workloads, and loads of the network, whose name contains this.", valueName: "text"))
    var only: String?

    @Option(help: ArgumentHelp("Only these servers, separated by commas: drover, nbdkit, qemu-nbd.", valueName: "names"))
    var servers = "drover,nbdkit,qemu-nbd"

    @Option(
        help: ArgumentHelp(
            "Where drover-client-stub and drover-server-stub are. The default is beside this program.", valueName: "directory"))
    var programs: String?

    @Flag(help: "Leave out the DD/OSs: no virtual machine is started, and no privilege is needed.")
    var noMachine = false

    @Flag(help: "Only the DD/OSs: leave out the message path.")
    var machinesOnly = false

    @Flag(help: "Leave out the network path, which is measured in virtual machines and needs root.")
    var noNetwork = false

    @Flag(help: "Only the network path.")
    var networkOnly = false

    @Option(help: ArgumentHelp("Only these parts of it, separated by commas: throughput, control, polling.", valueName: "names"))
    var networkParts = "throughput,control,polling"

    @Option(help: "Seconds over which a DD/OS at rest is measured.")
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
        for name in networkPartNames where NetworkReport.Part(rawValue: name) == nil {
            let known = NetworkReport.Part.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("unknown part '\(name)' of the network figures: there are \(known)")
        }
        guard !workloads.isEmpty || !networkLoads.isEmpty else { throw ValidationError("no workload's name contains '\(only ?? "")'") }
    }

    private var serverNames: [String] { servers.split(separator: ",").map(String.init) }

    private var networkPartNames: [String] { networkParts.split(separator: ",").map(String.init) }

    private var networkLoads: [NetworkLoad] { NetworkLoad.all.filter { only == nil || $0.name.contains(only ?? "") } }

    private var workloads: [Workload] { Workload.all.filter { only == nil || $0.name.contains(only ?? "") } }

    func run() throws {
        let kinds = serverNames.compactMap(ServerKind.init(rawValue:))
        let stubs = programs ?? WorkDirectory.ofThisProgram
        try complaining(programs: stubs, directory: directory) {
            let place = try WorkDirectory(in: directory)
            defer { place.remove() }
            let surroundings = Surroundings(directory: place.path, programs: stubs, megabytes: size)
            let results = try measure(machinesOnly || networkOnly ? [] : kinds, surroundings)
            if !json, !machinesOnly, !networkOnly { print(results.table()) }
            var machines: Machines?
            if !noMachine, !networkOnly {
                machines = try Machines.measure(programs: stubs, seconds: rest) { progress($0) }
                progress(nil)
            }
            if !json, let machines { print("\n" + machines.text) }
            var network: NetworkReport?
            if networkOnly || !noNetwork && !noMachine {
                network = try NetworkReport.measure(
                    networkPartNames.compactMap(NetworkReport.Part.init(rawValue:)), networkLoads, programs: stubs, directory: place.path,
                    rounds: rounds,
                    seconds: seconds
                ) { progress($0) }
                progress(nil)
            }
            if !json, let network { print((networkOnly ? "" : "\n") + network.text) }
            let aims = results.aims + (machines?.aims ?? []) + (network?.control?.aims ?? [])
            if json {
                try print(results.json(machines: machines, network: network, aims: aims))
            } else if !aims.isEmpty {
                print("\n" + Aim.table(aims))
            }
            let missed = aims.filter { !$0.isMet }
            guard missed.isEmpty else {
                throw BenchFailure(text: "\(missed.count) of \(aims.count) aims missed; on a busy machine that says little")
            }
        }
    }

    private func measure(_ kinds: [ServerKind], _ surroundings: Surroundings) throws -> Results {
        var results = Results(rounds: rounds, seconds: seconds, megabytes: size, servers: kinds)
        // All servers stay up for all rounds: who is not asked sleeps, and nobody pays for starting.
        var running: [RunningServer] = []
        defer { for server in running.reversed() { server.stop() } }
        for kind in kinds { running.append(try RunningServer(kind, surroundings)) }
        for round in 0..<(kinds.isEmpty ? 0 : rounds) {
            for workload in workloads {
                // Another one begins each round, so that none always runs on a machine that the same one has warmed.
                for index in running.indices {
                    let server = running[(index + round) % running.count]
                    progress("round \(round + 1)/\(rounds): \(workload.name), \(server.kind.rawValue)")
                    let before = server.cpuSeconds()
                    let run = try Fio.run(workload, on: .nbd(socket: server.socket), seconds: seconds)
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
}
