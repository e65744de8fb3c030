import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import LinuxSystem
import StubControl

extension DDOSRunner {
    /// First of all: takes over what a supervisor before left running. Then starts, if it is to be started.
    func begin(running: [RunningMachine]) async {
        guard let state = StateFile.load(place.run.state(name)) else {
            // No memory of it. The hypervisor tells of nobody else's VMs.
            if running.contains(where: { $0.name == name }) { return await endStray() }
            return startFirst()
        }
        restore(state)
        let found = await examine(state, running.first { $0.name == name })
        if state.configuration != Self.digest(configuration), found == .ready || found == .booting {
            place.log.append(.warning, "its configuration has changed; `drover restart \(name)` puts the change into force", ddos: name)
        }
        let neverRan = found == .nothing && state.record.generation == 0 && state.record.intent == .run
        if neverRan { return startFirst() }
        begin(with: .adopt(found))
    }

    private func startFirst() {
        begin(with: configuration.autostart ? .startRequested : nil)
    }

    private func endStray() async {
        try? await place.machines.destroy(name, deadline: .seconds(20))
        place.log.append(.warning, "a VM of this name ran that no state file tells of; it was destroyed", ddos: name)
        startFirst()
    }

    private func restore(_ state: StateFile) {
        machine = DDOSMachine(policy: machine.policy, record: state.record)
        life = state.life
        vmmMeter = state.vmmMeter
        stubMeter = state.stubMeter
        pastRequests = state.pastRequests
    }

    private func examine(_ state: StateFile, _ machineFound: RunningMachine?) async -> DDOSMachine.Found {
        let status = await reconnect(state)
        let known = machineFound.flatMap { $0.uuid == state.life?.uuid ? $0 : nil }
        if let machineFound, life?.vmm == nil { life?.vmm = ProcessIdentity(pid: machineFound.pid) }
        if let vmm = life?.vmm { vmmMeter.begin(vmm) }
        switch (known, status) {
        case (nil, nil) where machineFound == nil: return .nothing
        case (nil, _): return .broken(cause: .diedUnwatched, reason: "the VM was gone when the supervisor started")
        case (.some(let vm), _) where vm.state == .crashed:
            await place.machines.finishPanic(name, consoleLog: place.run.consoleLog(name))
            return .broken(cause: .panic, reason: "the guest's kernel panicked while no supervisor watched")
        case (.some, nil): return .broken(cause: .stubGone, reason: "the client stub was gone when the supervisor started")
        case (.some, .some(let status)):
            guard status.generation == state.record.generation else {
                return .broken(
                    cause: .diedUnwatched, reason: "the client stub is at life \(status.generation), not \(state.record.generation)")
            }
            switch status.state {
            case .ready: return .ready
            case .waiting: return .booting
            case .closed, .failing: return .broken(cause: .diedUnwatched, reason: "the session was lost while no supervisor watched")
            }
        }
    }

    /// The old supervisor's stub, if it lives and answers.
    private func reconnect(_ state: StateFile) async -> StubStatus? {
        guard let process = state.stub, process.isRunning else {
            stubMeter.end()
            return nil
        }
        let connection = await StubConnection.connect(
            name: name, path: place.run.controlSocket(name), seconds: place.stubPatience, isAlive: { process.isRunning })
        if let connection {
            take(connection, of: process, settings: state.stubSettings)
            if let status = try? await connection.status(seconds: place.stubPatience) {
                lastRequests = status.requestsCompleted
                disks = status.disks.map(DiskSummary.init)
                if let interface = status.interface { take(interface) }
                return status
            }
            await dropStub()
            return nil
        }
        await StubProcess.kill(process)
        stubMeter.end()
        return nil
    }
}

/// A DD/OS that runs although the configuration no longer names it.
enum Orphan {
    /// Ends its stub and its VM and removes its directory, or of that only what is of no use any more. False: there was nothing left
    /// of it but files.
    static func end(
        _ name: String, place: Surroundings, running: [RunningMachine], keepingLogs: Bool = false
    ) async throws -> Bool {
        let state = StateFile.load(place.run.state(name))
        var found = false
        if let stub = state?.stub, stub.isRunning {
            found = true
            if let connection = await StubConnection.connect(
                name: name, path: place.run.controlSocket(name), seconds: 1, isAlive: { stub.isRunning })
            {
                _ = try? await connection.call(.shutdown, seconds: 5)
                connection.close()
            }
            if await !StubProcess.waitUntilGone(stub, seconds: 5) { await StubProcess.kill(stub) }
        }
        if running.contains(where: { $0.name == name }) {
            found = true
            try await place.machines.destroy(name, deadline: .seconds(20))
        }
        if let vmm = state?.life?.vmm, vmm.isRunning { throw SupervisionError.vmmElsewhere(name: name, pid: vmm.pid) }
        try HostInterface.remove(place.run.interfaceJournal(name))
        // Of a stub that was killed.
        if let socket = state?.nbdSocket, let file = try? FileStatus(withoutFollowing: socket), !StubProcess.isServed(socket) {
            UnixSocket.remove(socket, made: file)
        }
        let sockets = [place.run.controlSocket(name), place.run.vsockSocket(name), place.run.packetSocket(name)]
        for file in keepingLogs ? sockets + [place.run.state(name)] : [place.run.ddos(name)] {
            try? FileManager.default.removeItem(atPath: file)
        }
        return found
    }
}
