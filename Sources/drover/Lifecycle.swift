import ControlAPI
public import ArgumentParser
public import ControlModel

struct Start: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a stopped or quarantined DD/OS.",
        discussion: "Returns when it is ready, or has failed. A running one is left alone.")

    @OptionGroup var target: NameArgument
    @OptionGroup var supervisor: SupervisorOptions
    @Flag(name: .long, help: "Return at once.") var noWait = false

    func run() async throws {
        try await supervisor.withClient { client in
            _ = try await client.start(target.name)
            if !noWait { try await StartProgress(client: client).untilReady([target.name]) }
        }
    }
}

struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop a DD/OS.",
        discussion: "Its front ends close, its VM is destroyed. Clients' acknowledged writes are on the device.")

    @OptionGroup var target: NameArgument
    @OptionGroup var supervisor: SupervisorOptions

    func run() async throws {
        _ = try await supervisor.withClient { try await $0.stop(target.name) }
        print("\(target.name) is stopped")
    }
}

struct Restart: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Replace a DD/OS's VM with a fresh one.",
        discussion: "Requests in flight are replayed on the new one; clients see a pause. Returns when it is ready again.")

    @OptionGroup var target: NameArgument
    @OptionGroup var supervisor: SupervisorOptions
    @Flag(name: .long, help: "Return at once.") var noWait = false

    func run() async throws {
        try await supervisor.withClient { client in
            let before = try await client.inspect(target.name).summary.generation
            let now = try await client.restart(target.name)
            if !noWait { try await StartProgress(client: client).untilReady([target.name], after: now.lastOldLife(before: before)) }
        }
    }
}

struct Inject: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a real fault about in a DD/OS.",
        discussion: """
            panic   a non-maskable interrupt makes the guest's kernel panic
            kill    SIGKILL for the VMM
            hang    the server stub stops serving and answering

            The DD/OS is replaced as after any other failure; see 'drover events -f'.
            """)

    @OptionGroup var target: NameArgument
    @Argument(help: "panic, kill or hang.") var fault: InjectedFault
    @OptionGroup var supervisor: SupervisorOptions

    func run() async throws {
        try await supervisor.withClient { try await $0.inject(target.name, fault) }
        print("\(fault.rawValue) delivered to \(target.name)")
    }
}

extension InjectedFault: ExpressibleByArgument {}
