import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import ImageBuilder
import StubControl

/// Carries out what the state machine of one DD/OS decides, and tells it what came of it.
///
/// Inputs are handled one after the other. What takes time runs in ``chain``, one thing after the other too, so that
/// destroying a VM cannot overtake its start; everything in it has a deadline.
actor DDOSRunner {
    nonisolated let name: String
    nonisolated let configuration: DDOSConfiguration
    nonisolated let place: Surroundings
    /// The DD/OS's vsock address. Only the guest sees it, so it needs to be unique nowhere.
    nonisolated let cid: UInt32

    var machine: DDOSMachine
    var stub: Stub?
    /// Somebody asked for a restart: what changed in the configuration counts from the next start on, for the stub too.
    var takesNewSettings = false
    /// A stub that hung up or disobeyed, until it is certainly gone.
    var dying: ProcessIdentity?
    var life: StateFile.Life?
    /// The hypervisor has been asked to start the VM and has not answered yet.
    var isStartingVMM = false
    /// The end of a VM whose start has not been answered yet. If the start fails, its own reason is the better one.
    var endBeforeAnswer: DDOSMachine.Input?
    /// The life whose guest has panicked and is printing why. Whatever else is heard of its end follows from that.
    var panicking: UInt64?
    var prepared: PreparedDevice?
    var disks: [DiskSummary] = []
    /// Of a network DD/OS, as last heard.
    var interface: StubInterface?
    /// The host's interface may not have the NIC's address and MTU yet.
    var isInterfaceUnchecked = true
    var vmmMeter = Meter()
    var stubMeter = Meter()
    /// Completed by stubs that are gone, and by the present one as last heard.
    var pastRequests: UInt64 = 0
    var lastRequests: UInt64 = 0
    var lastConsoleLines: [String] = []
    /// Of the start that is going on, and of the latest that succeeded.
    var startClock: StartClock?
    var lastStart: StartTimeline?
    /// What `ps` shows beside the phase.
    var status = ""

    var chain: Task<Void, Never>?
    var imageTask: Task<Void, Never>?
    private var timer: Task<Void, Never>?
    private var watchers: [UInt64: (DDOSPhase) -> Void] = [:]
    private var nextWatcher: UInt64 = 0
    private var leaving = false
    private var hasBegun = false
    private var early: [DDOSMachine.Input] = []
    private var saved: StateFile?

    struct Stub {
        var process: ProcessIdentity
        var connection: StubConnection
        /// What it was told at its start; nil: a supervisor that did not say started it.
        var settings: [String]?
    }

    init(_ configuration: DDOSConfiguration, cid: UInt32, place: Surroundings) {
        name = configuration.name
        self.configuration = configuration
        self.cid = cid
        self.place = place
        machine = DDOSMachine(policy: MachinePolicy(configuration))
    }

    var phase: DDOSPhase { machine.phase }

    /// Hands an input to the machine and begins what it wants done. What happens before the machine knows what there is to
    /// adopt, such as the death of a VM in that very moment, comes after.
    func send(_ input: DDOSMachine.Input) {
        guard hasBegun else { return early.append(input) }
        switch input {
        case .restartRequested: takesNewSettings = true
        case .startRequested: takesNewSettings = takesNewSettings || machine.phase == .quarantined
        default: break
        }
        for effect in machine.handle(input, at: place.now()) { perform(effect) }
        save()
        for watcher in watchers.values { watcher(machine.phase) }
    }

    private func perform(_ effect: DDOSMachine.Effect) {
        switch effect {
        case .prepareImage:
            let generation = machine.record.generation
            status = "preparing the image"
            imageTask = enqueue { await $0.prepareImage(generation) }
        case .startStub:
            let generation = machine.record.generation
            enqueue { await $0.startStub(generation) }
        case .openSession(let generation): enqueue { await $0.openSession(generation) }
        case .startVirtualMachine(let generation): enqueue { await $0.startVirtualMachine(generation) }
        case .fence(let generation, let reason):
            imageTask?.cancel()
            enqueue { await $0.fence(generation, reason) }
        case .stopStub:
            imageTask?.cancel()
            enqueue { await $0.stopStub() }
        case .failRequests(let reason): enqueue { await $0.failRequests(reason) }
        case .setTimer(let number, let seconds):
            timer?.cancel()
            timer = Task { [weak self] in
                guard (try? await Task.sleep(for: .seconds(seconds))) != nil else { return }
                await self?.send(.timerFired(number))
            }
        case .emit(let report):
            switch report.kind {
            case .ready, .recovered, .adopted, .stopped, .started: status = ""
            default: status = report.message
            }
            place.log.append(report, ddos: name, at: place.now().wall)
        }
    }

    @discardableResult
    private func enqueue(_ body: @escaping @Sendable (DDOSRunner) async -> Void) -> Task<Void, Never>? {
        guard !leaving else { return nil }
        let before = chain
        let task = Task { [self] in
            await before?.value
            await body(self)
        }
        chain = task
        return task
    }

    /// The machine's first input, if any; those that came too early follow.
    func begin(with input: DDOSMachine.Input?) {
        hasBegun = true
        if let input { send(input) } else { save() }
        let waiting = early
        early = []
        for input in waiting { send(input) }
        for watcher in watchers.values { watcher(machine.phase) }
    }

    /// Waits until the phase is one of these. False: it was not within `seconds`.
    func wait(for phases: Set<DDOSPhase>, seconds: Double) async -> Bool {
        if hasBegun, phases.contains(machine.phase) { return true }
        nextWatcher += 1
        let number = nextWatcher
        let (changes, continuation) = AsyncStream.makeStream(of: Bool.self)
        watchers[number] = { if phases.contains($0) { continuation.yield(true) } }
        defer { watchers[number] = nil }
        let timeout = Task {
            try? await Task.sleep(for: .seconds(seconds))
            continuation.yield(false)
        }
        defer { timeout.cancel() }
        for await reached in changes { return reached }
        return false
    }

    /// Lets go of everything without ending anything: the VM and the stub go on.
    func leave() async {
        leaving = true
        timer?.cancel()
        imageTask?.cancel()
        await chain?.value
        vmmMeter.sample()
        stubMeter.sample()
        save()
        let connection = stub?.connection
        stub = nil
        connection?.close()
    }

    /// Removes what is left of a stopped DD/OS in the run directory, so that the next supervisor begins anew.
    func forget() {
        leaving = true
        timer?.cancel()
        removeInterface()
        unlink(place.run.state(name))
        saved = nil
    }

    func save() {
        let state = StateFile(
            bootID: StateFile.currentBootID, name: name, record: machine.record, phase: machine.phase, life: life, stub: stub?.process,
            vmmMeter: vmmMeter, stubMeter: stubMeter, pastRequests: pastRequests, nbdSocket: nbdSocket,
            configuration: Self.digest(configuration), stubSettings: stub?.settings)
        guard state != saved else { return }
        do {
            try state.save(place.run.state(name))
            saved = state
        } catch {
            if saved != nil { place.log.append(.warning, "\(error); a new supervisor could not adopt it", ddos: name) }
            saved = nil
        }
    }

    static func digest(_ configuration: DDOSConfiguration) -> String { "\(configuration)" }

    /// Of the NBD front end; nil without one.
    var nbdSocket: String? {
        for case .nbd(let socket) in configuration.frontEnds { return socket ?? place.run.nbdSocket(name) }
        return nil
    }
}
