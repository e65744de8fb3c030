import LinuxSystem
import StubControl

// Between the words of the block engine and those of the control socket.

extension StubDisk {
    init(_ export: BlockExport) {
        self.init(name: export.name, size: export.size, blockSize: export.blockSize, readOnly: export.readOnly)
    }
}

extension StubEvent {
    init(_ event: EngineEvent, exports: [BlockExport]) {
        switch event {
        case .sessionReady(let generation, let replayed):
            self = .sessionReady(generation: generation, disks: exports.map(StubDisk.init), replayed: replayed)
        case .sessionLost(let generation, let end):
            self = .sessionLost(generation: generation, cause: end.loss, reason: end.reason)
        case .guestLog(let text):
            self = .guestLog(text)
        }
    }
}

extension StubStatus {
    init(_ engine: borrowing BlockEngine, clients: Int) {
        let state: State =
            switch engine.state {
            case .closed: .closed
            case .waiting: .waiting
            case .ready: .ready
            case .failing: .failing
            }
        self.init(pid: ProcessControl.identifier, state: state, generation: engine.generation)
        disks = engine.exports.map(StubDisk.init)
        inFlight = engine.inFlight
        held = engine.held
        requestsCompleted = engine.counters.completed
        requestsFailed = engine.counters.failed
        requestsReplayed = engine.counters.replayed
        bytesRead = engine.counters.bytesRead
        bytesWritten = engine.counters.bytesWritten
        doorbellsSent = engine.counters.doorbellsSent
        doorbellsReceived = engine.counters.doorbellsReceived
        sessionsLost = engine.counters.sessionsLost
        self.clients = clients
        lastRecoveryGap = Double(engine.counters.lastRecoveryGap) / 1e9
    }
}
