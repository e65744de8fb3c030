import Accounting
import ControlModel
public import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import Installation
import LinuxSystem
import PCIInventory
public import Logging
public import ServiceLifecycle

/// Starts, watches, restarts and accounts for DD/OSs. One for each run directory; never on the data path.
///
/// Its end does not end the DD/OSs: VMs and client stubs are processes of their own, and the next supervisor on the same run
/// directory adopts them. ``down()`` is what stops them.
public actor Supervisor: Service {
    public nonisolated let options: SupervisorOptions
    nonisolated let directory: RunDirectory
    nonisolated let log: EventLog
    nonisolated let acceleratorChoice: AcceleratorChoice
    nonisolated let startedAt = Moment.now
    let hypervisor: Hypervisor
    let runners: [DDOSRunner]
    let surroundings: Surroundings
    let passthrough: PassthroughDevices
    private let lock: SupervisorLock
    private let logger: Logger

    /// Set by ``down()``: the DD/OSs are gone, nothing is left to adopt.
    var isDown = false
    private let downRequested: AsyncStream<Void>
    let requestDown: AsyncStream<Void>.Continuation

    /// Takes the run directory, opens libvirt, and checks that the programs are there. Nothing is started yet: see ``run()``.
    public init(_ configuration: Configuration, options: SupervisorOptions, logger: Logger) async throws {
        self.options = options
        self.logger = logger
        directory = RunDirectory(path: options.runDirectory)
        try directory.create(for: configuration.ddos.map(\.name))
        lock = try SupervisorLock(directory)
        try RunDirectory.make(options.cacheDirectory)
        // QEMU is an orphan of libvirt's; it has to become our child to be reaped at once.
        try ProcessControl.becomeChildSubreaper()
        ProcessControl.ignoreBrokenPipes()
        let clientStub = try Installation.program("drover-client-stub")
        let serverStub = try Installation.serverStub()

        log = EventLog(path: directory.events, logger: logger)
        if let accelerator = options.accelerator {
            // QEMU would hang for a minute with some of these, and say nothing that helps.
            if accelerator == .kvm, let objection = Accelerator.choose().objection {
                throw SupervisionError.acceleratorUnavailable(reason: objection)
            }
            acceleratorChoice = AcceleratorChoice(accelerator: accelerator, reason: "chosen with --accelerator")
        } else {
            acceleratorChoice = Accelerator.choose()
        }
        hypervisor = try await Hypervisor.open(
            uri: options.libvirtURI, root: directory.libvirtRoot, cacheDirectory: options.cacheDirectory, logger: logger)
        passthrough = PassthroughDevices(run: directory, forced: Set(options.forcedDevices.compactMap { PCIAddress($0) }))
        let preparation = ImagePreparation(
            builder: ImageBuilder(cacheDirectory: options.cacheDirectory, recipesDirectory: options.recipesDirectory),
            serverStub: serverStub,
            runDirectory: options.runDirectory, cacheDirectory: options.cacheDirectory, passthrough: passthrough)
        let surroundings = Surroundings(
            run: directory, cacheDirectory: options.cacheDirectory,
            spawnStub: { arguments, log throws(SupervisionError) in try StubProcess.spawn(clientStub, arguments, log: log) },
            accelerator: acceleratorChoice.accelerator,
            machines: hypervisor, devices: preparation, log: log, logLevel: options.logLevel)
        self.surroundings = surroundings
        runners = configuration.ddos.enumerated().map { index, ddos in
            // 0 to 2 are reserved.
            DDOSRunner(ddos, cid: UInt32(3 + index), place: surroundings)
        }
        (downRequested, requestDown) = AsyncStream.makeStream(of: Void.self)
    }

    /// Adopts what runs, starts what should, and keeps it so until ``down()`` or graceful shutdown, which leaves the DD/OSs
    /// running for the next supervisor.
    public func run() async throws {
        log.append(
            .supervisorStarted,
            "droverd started, pid \(getpid()); \(acceleratorChoice.accelerator.rawValue): \(acceleratorChoice.reason)")
        let running = try await hypervisor.running()
        let listener = Task { [hypervisor, runners] in
            for await event in hypervisor.events {
                await runners.first { $0.name == event.machine }?.heard(event)
            }
        }
        let logs = directory.logs(of: runners.map(\.name))
        let keeper = Task { await LogLimits().keep(logs) }
        await endOrphans(running)
        await settleDevices(running)
        await withTaskGroup { group in
            for runner in runners { group.addTask { await runner.begin(running: running) } }
        }
        let requests = downRequested
        await cancelWhenGracefulShutdown {
            for await _ in requests { return }
        }
        if !isDown {
            await withTaskGroup { group in
                for runner in runners { group.addTask { await runner.leave() } }
            }
        }
        log.append(
            .supervisorStopped,
            isDown ? "droverd ends; every DD/OS is stopped" : "droverd ends; the DD/OSs go on, and a new droverd will adopt them")
        log.finish()
        keeper.cancel()
        listener.cancel()
        await hypervisor.close()
    }

    /// Instead of ``run()``: ends whatever an earlier supervisor on this run directory has left running, adopts nothing, and gives devices
    /// back. Throws when something is left.
    public func endAll() async throws {
        log.append(.supervisorStarted, "droverd started to end everything, pid \(getpid())")
        let running = try await hypervisor.running()
        let left = await endOrphans(running, "left by a droverd that has died", keepingLogs: true)
        await passthrough.settle(users: [:], log: log)
        // Of one that was killed; the lock says that nobody else serves it.
        unlink(directory.apiSocket)
        log.append(
            .supervisorStopped, left.isEmpty ? "droverd ends; every DD/OS is stopped" : "droverd ends; some DD/OSs could not be stopped")
        log.finish()
        await hypervisor.close()
        guard left.isEmpty else { throw SupervisionError.notEnded(left) }
    }

    /// Returns what could not be ended, and why.
    @discardableResult
    private func endOrphans(
        _ running: [RunningMachine], _ why: String = "no longer configured", keepingLogs: Bool = false
    ) async -> [String] {
        var left: [String] = []
        let configured = Set(runners.map(\.name))
        for name in Set(directory.namesOnDisk() + running.map(\.name)).subtracting(configured).sorted() {
            do {
                if try await Orphan.end(name, place: surroundings, running: running, keepingLogs: keepingLogs) {
                    log.append(.orphanStopped, "\(why): stopped", ddos: name)
                }
            } catch {
                left.append("\(name): \(explanation(of: error))")
                log.append(.warning, "\(why), and cannot be stopped: \(explanation(of: error))", ddos: name)
            }
        }
        return left
    }

    /// Before anything starts: no device is left between two drivers, or with a DD/OS that does not run.
    private func settleDevices(_ running: [RunningMachine]) async {
        var users: [PCIAddress: String] = [:]
        for runner in runners {
            guard case .pci(let text) = runner.configuration.device, let address = PCIAddress(text) else { continue }
            let intent = StateFile.load(directory.state(runner.name))?.record.intent
            let uses = intent.map { $0 != .stopped } ?? runner.configuration.autostart
            if uses || running.contains(where: { $0.name == runner.name }) { users[address] = runner.name }
        }
        await passthrough.settle(users: users, log: log)
    }

    func reading() async -> Reading {
        let own = ProcessIdentity(pid: getpid())
        let rows = await withTaskGroup { group in
            for (index, runner) in runners.enumerated() { group.addTask { (index, await runner.reading()) } }
            var rows: [(Int, DDOSReading)] = []
            for await row in group { rows.append(row) }
            return rows
        }
        return Reading(
            time: Moment.now.monotonic, ddos: rows.sorted { $0.0 < $1.0 }.map(\.1),
            supervisor: own.flatMap { ProcessTimes(of: $0) } ?? ProcessTimes(),
            supervisorMemory: own.flatMap { ProcessMemory(of: $0) } ?? ProcessMemory())
    }
}
