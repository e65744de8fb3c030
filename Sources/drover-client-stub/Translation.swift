import ClientStub
import LinuxSystem
import StubControl

// Between the words of the message path and those of the control socket.

extension SupervisorCommand {
    init(_ action: StubCommand.Action) {
        switch action {
        case .status: self = .status
        case .open(let generation): self = .open(generation: generation)
        case .close(let reason): self = .close(reason: reason)
        case .inject(.hang): self = .inject(.hang)
        case .inject(.panic): self = .inject(.panic)
        case .fail(let reason): self = .fail(reason: reason)
        case .shutdown: self = .shutdown
        }
    }
}

extension SessionLossCause {
    init(_ loss: SessionLoss) {
        switch loss {
        case .hangUp: self = .hangUp
        case .protocolViolation: self = .protocolViolation
        case .pingTimeout: self = .pingTimeout
        case .requestDeadline: self = .requestDeadline
        case .handshakeTimeout: self = .handshakeTimeout
        }
    }
}

extension StubDisk {
    init(_ export: BlockExport) {
        self.init(name: export.name, size: export.size, blockSize: export.blockSize, readOnly: export.readOnly)
    }
}

extension StubStatus {
    init(_ snapshot: StubSnapshot) {
        let state: State =
            switch snapshot.state {
            case .closed: .closed
            case .waiting: .waiting
            case .ready: .ready
            case .failing: .failing
            }
        self.init(pid: ProcessControl.identifier, state: state, generation: snapshot.generation)
        disks = snapshot.exports.map(StubDisk.init)
        inFlight = snapshot.inFlight
        held = snapshot.held
        requestsCompleted = snapshot.counters.completed
        requestsFailed = snapshot.counters.failed
        requestsReplayed = snapshot.counters.replayed
        bytesRead = snapshot.counters.bytesRead
        bytesWritten = snapshot.counters.bytesWritten
        doorbellsSent = snapshot.counters.doorbellsSent
        doorbellsReceived = snapshot.counters.doorbellsReceived
        sessionsLost = snapshot.counters.sessionsLost
        clients = snapshot.clients
        lastRecoveryGap = Double(snapshot.counters.lastRecoveryGap) / 1e9
    }
}
