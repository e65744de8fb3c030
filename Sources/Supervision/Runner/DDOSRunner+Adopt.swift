import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import StubControl

extension DDOSRunner {
    /// First of all: takes over what a supervisor before left running. Then starts, if it is to be started.
    func begin(running: [RunningMachine]) async {
        guard let state = StateFile.load(place.run.state(name)) else {
            // No memory of it. A VM of this name is no one else's in our root: fencing on the way ends it.
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
            name: name, path: place.run.controlSocket(name), seconds: 3, isAlive: { process.isRunning })
        if let connection {
            take(connection, of: process)
            if let status = try? await connection.status(seconds: 3) {
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
    /// Ends its stub and its VM and removes its directory. False: there was nothing left of it but files.
    static func end(_ name: String, place: Surroundings, running: [RunningMachine]) async throws -> Bool {
        let state = StateFile.load(place.run.state(name))
        var found = false
        if let stub = state?.stub, stub.isRunning {
            found = true
            if let connection = await StubConnection.connect(
                name: name, path: place.run.controlSocket(name), seconds: 1, isAlive: { stub.isRunning })
            {
                _ = try? await connection.call(.shutdown, seconds: 3)
                connection.close()
            }
            if await !StubProcess.waitUntilGone(stub, seconds: 3) { await StubProcess.kill(stub) }
        }
        if running.contains(where: { $0.name == name }) {
            found = true
            try await place.machines.destroy(name, deadline: .seconds(20))
        }
        try HostInterface.remove(place.run.interfaceJournal(name))
        try? FileManager.default.removeItem(atPath: place.run.ddos(name))
        return found
    }
}
