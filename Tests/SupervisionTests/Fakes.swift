import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Glibc
import Hypervisor
@testable import ImageBuilder
import Logging
import StubControl
import Synchronization

@testable import Supervision

/// What happened to the fakes, in order.
final class Diary: Sendable {
    private let lines = Mutex<[String]>([])

    func write(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}

/// Virtual machines that are `sleep` processes.
final class FakeMachines: VirtualMachines {
    private struct State {
        var machines: [String: RunningMachine] = [:]
        var failStarts = 0
        var zombies = 0
        var beforeFailure: (@Sendable (VirtualMachineSpec) async -> Void)?
        var whileStarting: (@Sendable (VirtualMachineSpec) async -> Void)?
    }

    private let state = Mutex(State())
    private let diary: Diary

    init(diary: Diary) { self.diary = diary }

    /// - Parameter before: What happens while the start is under way.
    func failNextStarts(_ count: Int, before: (@Sendable (VirtualMachineSpec) async -> Void)? = nil) {
        state.withLock {
            $0.failStarts = count
            $0.beforeFailure = before
        }
    }
    /// What happens while the next start is under way, which succeeds.
    func duringNextStart(_ body: @escaping @Sendable (VirtualMachineSpec) async -> Void) { state.withLock { $0.whileStarting = body } }
    /// The next ends leave a zombie.
    func forgetToReap(_ count: Int) { state.withLock { $0.zombies = count } }
    var current: [RunningMachine] { state.withLock { Array($0.machines.values) } }

    func start(_ spec: VirtualMachineSpec, deadline: Duration) async throws(HypervisorError) -> Int32 {
        diary.write("start VM")
        let fails = state.withLock { state in
            guard state.failStarts > 0 else { return false }
            state.failStarts -= 1
            return true
        }
        if fails {
            await state.withLock { $0.beforeFailure }?(spec)
            throw .startFailed(machine: spec.name, detail: "as told")
        }
        guard let process = try? StubProcess.spawn("/bin/sleep", ["600"], log: "/dev/null") else {
            throw .startFailed(machine: spec.name, detail: "no sleep")
        }
        state.withLock {
            $0.machines[spec.name] = RunningMachine(name: spec.name, uuid: spec.uuid, pid: process.pid, state: .running)
        }
        await state.withLock { $0.whileStarting.take() }?(spec)
        return process.pid
    }

    func destroy(_ name: String, deadline: Duration) async throws(HypervisorError) {
        let zombie = state.withLock { state -> RunningMachine? in
            guard state.zombies > 0 else { return nil }
            state.zombies -= 1
            return state.machines[name]
        }
        if let zombie {
            kill(zombie.pid, SIGKILL)
            return diary.write("leave a zombie")
        }
        guard let machine = state.withLock({ $0.machines.removeValue(forKey: name) }) else { return diary.write("destroy nothing") }
        kill(machine.pid, SIGKILL)
        waitpid(machine.pid, nil, 0)
        diary.write("destroy VM")
    }

    func running() async throws(HypervisorError) -> [RunningMachine] { current }
    func injectNMI(_ name: String) async throws(HypervisorError) { diary.write("NMI") }
    func finishPanic(_ name: String, consoleLog: String) async { diary.write("let it print") }
}

/// Client stubs whose process is a `sleep` and whose control socket is served by the test.
final class FakeStubs: Sendable {
    private struct State {
        var listener: Int32 = -1
        var connections: [Int32] = []
        var generation: UInt64 = 0
        var ready = false
        var process: ProcessIdentity?
        var interface: StubInterface?
        var arguments: [String] = []
        var closeDelay = 0.0
    }

    private let state = Mutex(State())
    private let diary: Diary
    private let path: String

    init(diary: Diary, path: String) {
        self.diary = diary
        self.path = path
    }

    var process: ProcessIdentity? { state.withLock { $0.process } }
    /// Of the stub that was started last.
    var arguments: [String] { state.withLock { $0.arguments } }
    /// What the NIC's driver says, whatever it is asked or told.
    func describe(_ interface: StubInterface) { state.withLock { $0.interface = interface } }

    /// The next `close` is answered so many seconds late, and so is whatever comes after it.
    func dawdle(_ seconds: Double) { state.withLock { $0.closeDelay = seconds } }

    func spawn(_ arguments: [String]) throws(SupervisionError) -> ProcessIdentity {
        diary.write("start stub")
        state.withLock { $0.arguments = arguments }
        let process = try StubProcess.spawn("/bin/sleep", ["600"], log: "/dev/null")
        let listener = listen()
        state.withLock {
            $0.process = process
            $0.listener = listener
            $0.generation = 0
            $0.ready = false
        }
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil)
                guard connection >= 0 else { return }
                state.withLock { $0.connections.append(connection) }
                Thread.detachNewThread { [self] in serve(connection) }
            }
        }
        return process
    }

    /// The process and its sockets vanish, as after SIGKILL.
    func die() {
        let (process, listener, connections) = state.withLock { state in
            defer {
                state.listener = -1
                state.connections = []
            }
            return (state.process, state.listener, state.connections)
        }
        if let process { kill(process.pid, SIGKILL) }
        if listener >= 0 { shutdown(listener, Int32(SHUT_RDWR)) }
        for connection in connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }

    func send(_ event: StubEvent) {
        switch event {
        case .sessionReady, .interfaceReady: state.withLock { $0.ready = true }
        default: break
        }
        if case .sessionLost = event { state.withLock { $0.ready = false } }
        for connection in state.withLock({ $0.connections }) { write(.event(event), connection) }
    }

    private func listen() -> Int32 {
        unlink(path)
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        _ = bindUnix(listener, &address)
        Glibc.listen(listener, 8)
        return listener
    }

    private func serve(_ connection: Int32) {
        var pending = Data()
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(connection, &bytes, bytes.count, 0)
            guard count > 0 else { return }
            pending.append(contentsOf: bytes[..<count])
            while let end = pending.firstIndex(of: 10) {
                if let command = try? JSONDecoder().decode(StubCommand.self, from: Data(pending[..<end])) { answer(command, connection) }
                pending = Data(pending[(end + 1)...])
            }
        }
    }

    private func answer(_ command: StubCommand, _ connection: Int32) {
        var reply = StubReply.done
        switch command.action {
        case .status:
            reply = state.withLock { state in
                var status = StubStatus(
                    pid: state.process?.pid ?? 0, state: state.ready ? .ready : .waiting, generation: state.generation)
                status.requestsCompleted = 100
                return .status(status)
            }
        case .open(let generation):
            state.withLock { $0.generation = generation }
            diary.write("open \(generation)")
        case .close:
            let delay = state.withLock { state in
                defer { state.closeDelay = 0 }
                state.ready = false
                return state.closeDelay
            }
            if delay > 0 { Thread.sleep(forTimeInterval: delay) }
            diary.write("close")
        case .inject(let fault): diary.write("inject \(fault.rawValue)")
        case .fail: diary.write("fail")
        case .interface(let request):
            diary.write("interface")
            switch request {
            case .statistics: reply = .statistics([])
            default: if let interface = state.withLock({ $0.interface }) { reply = .interface(interface) }
            }
        case .shutdown:
            diary.write("shutdown")
            write(.reply(id: command.id, .done), connection)
            return die()
        }
        write(.reply(id: command.id, reply), connection)
    }

    private func write(_ message: StubMessage, _ connection: Int32) {
        guard var line = try? JSONEncoder().encode(message) else { return }
        line.append(10)
        _ = line.withUnsafeBytes { Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}

struct FakeDevices: DevicePreparation {
    func prepare(_ configuration: DDOSConfiguration, progress: @escaping @Sendable (String) -> Void) async throws -> PreparedDevice {
        let manifest = ImageManifest(
            formatVersion: 1, hash: "abc", recipe: "fake", kernelRelease: "6.1-fake",
            package: KernelPackage(name: "fake", version: "1", architecture: "amd64", sha256: "", size: 0), commandLine: "console=ttyS0",
            vmlinux: ImageFile(sha256: "", size: 0), initrd: ImageFile(sha256: "", size: 0), serverStub: ImageFile(sha256: "", size: 0),
            modules: [], modaliases: [])
        return PreparedDevice(image: BuiltImage(hash: "abc", kernel: "/k", initrd: "/i", manifest: manifest), binding: .none)
    }
}

/// A run directory with fakes in it. At the end every runner has let go, every process is dead, and the directory is gone.
final class FakeWorld: Sendable {
    let directory: String
    let diary = Diary()
    let machines: FakeMachines
    let stubs: FakeStubs
    let log: EventLog
    let place: Surroundings
    private let runners = Mutex<[DDOSRunner]>([])

    static func with(stubPatience: Double = 20, _ body: (FakeWorld) async throws -> Void) async throws {
        let world = try FakeWorld(stubPatience: stubPatience)
        do { try await body(world) } catch {
            await world.end()
            throw error
        }
        await world.end()
    }

    private init(stubPatience: Double) throws {
        directory = NSTemporaryDirectory() + "drover-\(UUID().uuidString.prefix(8))"
        let run = RunDirectory(path: directory)
        try run.create(for: ["d"])
        let machines = FakeMachines(diary: diary)
        let stubs = FakeStubs(diary: diary, path: run.controlSocket("d"))
        self.machines = machines
        self.stubs = stubs
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        log = EventLog(path: run.events, logger: logger)
        var place = Surroundings(
            run: run, cacheDirectory: directory, spawnStub: { arguments, _ throws(SupervisionError) in try stubs.spawn(arguments) },
            accelerator: .tcg,
            machines: machines, devices: FakeDevices(), log: log, logLevel: "info")
        place.stubPatience = stubPatience
        self.place = place
    }

    /// From wherever it is to ready, at this generation.
    func bringUp(_ runner: DDOSRunner, generation: UInt64 = 1) async -> Bool {
        guard await runner.comes(to: [.booting]) else { return false }
        stubs.send(.sessionReady(generation: generation, disks: [], replayed: 0))
        return await runner.comes(to: [.ready])
    }

    func runner(_ change: (inout DDOSConfiguration) -> Void = { _ in }) -> DDOSRunner {
        var configuration = DDOSConfiguration(name: "d", device: .pci(address: "0000:01:00.0"))
        change(&configuration)
        return keep(DDOSRunner(configuration, cid: 3, place: place))
    }

    /// It lets go at the end.
    func keep(_ runner: DDOSRunner) -> DDOSRunner {
        runners.withLock { $0.append(runner) }
        return runner
    }

    private func end() async {
        // First: who still watches would replace what is killed.
        for runner in runners.withLock({ $0 }) { await runner.leave() }
        stubs.die()
        if let process = stubs.process { waitpid(process.pid, nil, 0) }
        for machine in machines.current {
            kill(machine.pid, SIGKILL)
            waitpid(machine.pid, nil, 0)
        }
        try? FileManager.default.removeItem(atPath: directory)
    }
}

func bindUnix(_ socket: Int32, _ address: inout sockaddr_un) -> Int32 {
    withUnsafePointer(to: &address) { pointer in
        bind(socket, __CONST_SOCKADDR_ARG(__sockaddr_un__: pointer), socklen_t(MemoryLayout<sockaddr_un>.size))
    }
}

extension DDOSRunner {
    /// Waits as long as a machine with other things to do may take.
    func comes(to phases: Set<DDOSPhase>) async -> Bool { await wait(for: phases, seconds: 60) }
}
