import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import StubControl

extension DDOSRunner {
    /// Ends a life for certain: the session closed, the VMM gone and reaped. Only after this may another one begin.
    func fence(_ generation: UInt64, _ reason: String) async {
        let late = await closeSession(reason)
        if life != nil { lastConsoleLines = ConsoleLog.tail(path: place.run.consoleLog(name), lines: 40) }
        // The last moment at which the process's times can be read.
        vmmMeter.sample()
        do {
            try await place.machines.destroy(name, deadline: .seconds(20))
        } catch {
            return send(.fenceFailed(generation: generation, reason: "\(error)"))
        }
        // A zombie counts: until it is reaped, something of the old life may not have ended.
        if let vmm = life?.vmm, vmm.exists {
            return send(.fenceFailed(generation: generation, reason: "the VMM, pid \(vmm.pid), is still there"))
        }
        vmmMeter.end()
        life?.vmm = nil
        if let late { await waitForStub(late) }
        if machine.isStoppingForGood { await giveBackDevice() }
        send(.fenced(generation: generation))
    }

    /// Has the stub end its session with the life that ends. Returns a stub that has not answered soon: the fence does not wait for it.
    private func closeSession(_ reason: String) async -> StubConnection? {
        guard let connection = stub?.connection else { return nil }
        do {
            _ = try await connection.call(.close(reason: reason), seconds: min(2, place.stubPatience))
        } catch SupervisionError.stubSilent {
            return connection
        } catch {
            await replace(connection, error)
        }
        return nil
    }

    /// Commands are answered in order: whoever answers has closed its session.
    private func waitForStub(_ connection: StubConnection) async {
        do {
            _ = try await connection.status(seconds: place.stubPatience)
        } catch {
            await replace(connection, error)
        }
    }

    /// It would hold on to the dead session; requests in flight end with it, their clients reconnect.
    private func replace(_ connection: StubConnection, _ error: any Error) async {
        guard stub?.connection === connection else { return }
        place.log.append(.warning, "\(error); replacing it", ddos: name)
        await dropStub()
    }

    /// Only after a stop: between lives, and in quarantine, the host's driver has no business with a device that a driver crashed on.
    private func giveBackDevice() async {
        do {
            if let text = try await place.devices.giveBack(configuration) { place.log.append(.deviceReturned, text, ddos: name) }
        } catch {
            place.log.append(.warning, explanation(of: error), ddos: name)
        }
    }

    /// Asks the stub to end, and sees to it that it does.
    func stopStub() async {
        await endStub()
        disks = []
        send(.stubStopped)
    }

    func endStub() async {
        if let stub {
            await readRequests()
            // Its hang-up is expected now.
            letGo(stub)
            _ = try? await stub.connection.call(.shutdown, seconds: 5)
            if await !StubProcess.waitUntilGone(stub.process, seconds: 5) {
                place.log.append(.warning, "the client stub did not end within 5 s of being asked; killing it", ddos: name)
            }
            stub.connection.close()
        }
        await endDyingStub()
    }

    func failRequests(_ reason: String) async {
        do {
            _ = try await stub?.connection.call(.fail(reason: reason), seconds: place.stubPatience)
        } catch {
            place.log.append(.warning, "requests cannot be failed: \(error)", ddos: name)
        }
    }

    /// The stub is broken or disobeys.
    func dropStub() async {
        guard let stub else { return }
        letGo(stub)
        stub.connection.close()
        await endDyingStub()
    }

    /// From now on there is no stub; the process still has to be ended.
    private func letGo(_ stub: Stub) {
        self.stub = nil
        dying = stub.process
        forgetStub()
    }

    /// Two stubs must not share one DD/OS's sockets.
    func endDyingStub() async {
        guard let process = dying else { return }
        await StubProcess.kill(process)
        if dying == process { dying = nil }
    }

    private func forgetStub() {
        stubMeter.end()
        pastRequests += lastRequests
        lastRequests = 0
    }

    /// The control socket hung up: the stub died, or is about to.
    func disconnected(_ connection: StubConnection) {
        guard let stub, stub.connection === connection else { return }
        letGo(stub)
        send(.stubLost(reason: "its control socket hung up, pid \(stub.process.pid)"))
    }

    /// An event of the present stub.
    func heard(_ event: StubEvent, from connection: StubConnection) async {
        guard let stub, stub.connection === connection else { return }
        switch event {
        case .sessionReady(let generation, let disks, let replayed):
            self.disks = disks.map(DiskSummary.init)
            vmmMeter.sample()
            noteStart()
            send(.sessionReady(generation: generation, replayed: replayed))
        case .sessionLost(let generation, let cause, let reason):
            await lost(generation, cause, reason)
        case .interfaceReady(let generation, let interface):
            take(interface)
            vmmMeter.sample()
            noteStart()
            send(.sessionReady(generation: generation, replayed: 0))
        case .interfaceChanged(let interface):
            take(interface)
        case .guestLog(let text):
            startClock?.heard(untrustedLine: text, at: place.now().monotonic)
            let clean = String(text.prefix(1000).map { $0.isNewline || $0.unicodeScalars.contains { $0.value < 32 } ? " " : $0 })
            place.log.append(DDOSMachine.Report(.guestLog, clean, generation: machine.record.generation), ddos: name)
        }
    }

    /// The end of a start. Of a session that a supervisor found there is no beginning.
    private func noteStart() {
        lastStart = startClock?.timeline(readyAt: place.now().monotonic) ?? lastStart
        startClock = nil
    }

    private func lost(_ generation: UInt64, _ cause: SessionLossCause, _ reason: String) async {
        // A hang-up is what the stub sees of a VMM's death, and of a panic, which stops the guest's devices; and it sees it first. Its exit, or
        // libvirt's news, may take a moment more.
        if cause == .hangUp, let vmm = life?.vmm, life?.generation == generation {
            for _ in 0..<30 where vmm.isRunning && panicking != generation { try? await Task.sleep(for: .milliseconds(10)) }
            if !vmm.isRunning {
                return ended(
                    .failed(generation: generation, cause: .vmmGone, reason: goneReason(vmm)))
            }
        }
        ended(.failed(generation: generation, cause: FailureCause(cause), reason: reason))
    }

    /// A life's end, told by the stub or by libvirt.
    private func ended(_ failure: DDOSMachine.Input) {
        if case .failed(let generation, let cause, _) = failure, generation == panicking, cause != .panic { return }
        if isStartingVMM {
            // Late news of an earlier life must not stand for this one's.
            guard case .failed(let generation, _, _) = failure, generation == life?.generation else { return }
            endBeforeAnswer = endBeforeAnswer ?? failure
        } else {
            send(failure)
        }
    }

    /// What libvirt says about the VM.
    func heard(_ event: VirtualMachineEvent) {
        guard let life, life.uuid == event.uuid else { return }
        func fail(_ cause: FailureCause, _ reason: String) {
            ended(.failed(generation: life.generation, cause: cause, reason: reason))
        }
        switch event.kind {
        case .panicked:
            panicking = life.generation
            Task { await panicked(life) }
        case .watchdog: fail(.watchdog, "the guest's watchdog was not fed")
        case .guestReset: fail(.guestStopped, "the guest reset itself")
        // After a panic the VMM is paused on purpose: that is news of a life that is over.
        case .paused(let reason) where machine.phase == .ready || machine.phase == .booting:
            place.log.append(.warning, "the VM was paused: \(reason)", ddos: name)
        case .stopped(.shutdown): fail(.guestStopped, "the guest powered itself off")
        case .stopped(.crashed): fail(.panic, panicReason)
        case .stopped(.failed), .stopped(.other): fail(.vmmGone, goneReason(life.vmm))
        case .stopped(.destroyed): fail(.vmmGone, "somebody else destroyed the VM")
        case .diskFailed(let stops): diskFailed(stops)
        case .started, .resumed, .paused: break
        }
    }

    private func diskFailed(_ stops: Bool) {
        guard case .emulated(_, let backing) = configuration.device else { return }
        let path = backing.path(runDirectory: place.run.path, cacheDirectory: place.cacheDirectory)
        let effect = stops ? "the VM was paused" : "the disk's clients get errors"
        let remedy = stops ? "make room (`df \(path)`), then `drover restart \(name)`" : "make room (`df \(path)`)"
        place.log.append(
            .warning, "\(effect): the host cannot read or write \(path), its file system is full or broken; \(remedy)", ddos: name)
    }

    /// Not in ``heard(_:)``'s own time: other DD/OSs' events are waiting behind it.
    private func panicked(_ life: StateFile.Life) async {
        await place.machines.finishPanic(name, consoleLog: place.run.consoleLog(name))
        guard self.life?.uuid == life.uuid else { return }
        ended(.failed(generation: life.generation, cause: .panic, reason: panicReason))
    }

    /// With QEMU's own last words, if it gave up by itself.
    private func goneReason(_ vmm: ProcessIdentity?) -> String {
        let log = EmulatorLog.path(of: name, root: place.run.libvirtRoot)
        let said = life.flatMap { EmulatorLog.lastWords(log, ofLife: $0.uuid) }
        return "the VMM\(vmm.map { ", pid \($0.pid)," } ?? "") is gone: " + (said.map { "it said: \($0)" } ?? "killed or crashed")
    }

    private var panicReason: String {
        let reason = Self.panicLine(ConsoleLog.tail(path: place.run.consoleLog(name), lines: 500))
        return "the guest's kernel panicked" + (reason.map { ": \($0)" } ?? "")
    }

    /// Why the kernel panicked, as its console says it: "NMI: Not continuing". Nil if this life has not said.
    static func panicLine(_ console: [String]) -> String? {
        // The file holds earlier lives too.
        let life = console.lastIndex { $0.contains("Linux version ") }.map { console[$0...] } ?? console[...]
        for line in life {
            guard let words = line.range(of: "Kernel panic - not syncing: ") else { continue }
            return String(line[words.upperBound...].prefix(200))
        }
        return nil
    }
}

extension DiskSummary {
    init(_ disk: StubDisk) {
        self.init(name: disk.name, size: disk.size, blockSize: disk.blockSize, readOnly: disk.readOnly)
    }
}

extension FailureCause {
    init(_ cause: SessionLossCause) {
        self =
            switch cause {
            case .hangUp: .hangUp
            case .protocolViolation: .protocolViolation
            case .pingTimeout: .hang
            case .requestDeadline: .requestDeadline
            case .handshakeTimeout: .bootDeadline
            }
    }
}
