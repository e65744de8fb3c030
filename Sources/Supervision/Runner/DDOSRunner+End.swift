import Accounting
import ControlModel
import Foundation
import Hypervisor
import StubControl

extension DDOSRunner {
    /// Ends a life for certain: the session closed, the VMM gone and reaped. Only after this may another one begin.
    func fence(_ generation: UInt64, _ reason: String) async {
        if let stub {
            do {
                _ = try await stub.connection.call(.close(reason: reason), seconds: 2)
            } catch {
                // It would hold on to the dead session; requests in flight end with it, their clients reconnect.
                place.log.append(.warning, "\(error); replacing it", ddos: name)
                await dropStub()
            }
        }
        if life != nil { lastConsoleLines = ConsoleLog.tail(path: place.run.consoleLog(name), lines: 20) }
        // The last moment at which the process's times can be read.
        vmmMeter.sample()
        do {
            try await place.machines.destroy(name, deadline: .seconds(20))
        } catch {
            return send(.fenceFailed(generation: generation, reason: "\(error)"))
        }
        if let vmm = life?.vmm, vmm.isRunning {
            return send(.fenceFailed(generation: generation, reason: "the VMM, pid \(vmm.pid), still runs"))
        }
        vmmMeter.end()
        life?.vmm = nil
        send(.fenced(generation: generation))
    }

    /// Asks the stub to end, and sees to it that it does.
    func stopStub() async {
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
        disks = []
        send(.stubStopped)
    }

    func failRequests(_ reason: String) async {
        do {
            _ = try await stub?.connection.call(.fail(reason: reason), seconds: 5)
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
            send(.sessionReady(generation: generation, replayed: replayed))
        case .sessionLost(let generation, let cause, let reason):
            await lost(generation, cause, reason)
        case .guestLog(let text):
            let clean = String(text.prefix(1000).map { $0.isNewline || $0.unicodeScalars.contains { $0.value < 32 } ? " " : $0 })
            place.log.append(DDOSMachine.Report(.guestLog, clean, generation: machine.record.generation), ddos: name)
        }
    }

    private func lost(_ generation: UInt64, _ cause: SessionLossCause, _ reason: String) async {
        // A hang-up is what the stub sees of a VMM's death, and it sees it first. Its exit may take a moment more.
        if cause == .hangUp, let vmm = life?.vmm, life?.generation == generation {
            for _ in 0..<5 where vmm.isRunning { try? await Task.sleep(for: .milliseconds(10)) }
            if !vmm.isRunning {
                return ended(
                    .failed(generation: generation, cause: .vmmGone, reason: "the VMM, pid \(vmm.pid), is gone: killed or crashed"))
            }
        }
        ended(.failed(generation: generation, cause: FailureCause(cause), reason: reason))
    }

    /// A life's end, told by the stub or by libvirt.
    private func ended(_ failure: DDOSMachine.Input) {
        if isStartingVMM {
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
        case .panicked: fail(.panic, panicReason)
        case .watchdog: fail(.watchdog, "the guest's watchdog was not fed")
        case .guestReset: fail(.guestStopped, "the guest reset itself")
        // After a panic the VMM is paused on purpose: that is news of a life that is over.
        case .paused(let reason) where machine.phase == .ready || machine.phase == .booting:
            place.log.append(.warning, "the VM was paused: \(reason)", ddos: name)
        case .stopped(.shutdown): fail(.guestStopped, "the guest powered itself off")
        case .stopped(.crashed): fail(.panic, panicReason)
        case .stopped(.failed), .stopped(.other): fail(.vmmGone, "the VMM is gone: killed or crashed")
        case .stopped(.destroyed): fail(.vmmGone, "somebody else destroyed the VM")
        case .started, .resumed, .paused: break
        }
    }

    private var panicReason: String {
        let lines = ConsoleLog.tail(path: place.run.consoleLog(name), lines: 60)
        let panic = lines.compactMap { line in
            line.range(of: "Kernel panic").map { String(line[$0.lowerBound...].prefix(200)) }
        }.last
        return "the guest's kernel panicked" + (panic.map { ": \($0)" } ?? "")
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
