import VirtioBlock
import StubControl
public import VirtioMessage
import Virtqueue

extension BlockEngine {
    /// Puts held requests of one export on its queue, oldest first, as far as there is room.
    mutating func sendHeld(export: Int) {
        guard state == .ready, export < queueOfExport.count else { return }
        let place = queueOfExport[export]
        while let index = requests.firstHeld(export: export) {
            guard send(index, on: place) else { return }
        }
    }

    private mutating func send(_ index: UInt32, on place: Int) -> Bool {
        let request = requests[index]
        var data: UInt64 = 0
        if request.buffer != RequestTable.none, !request.flushing {
            if buffers.poolOffset(of: request.buffer) == nil {
                // Of a session that has ended, or of the time without one: what a write brings comes along.
                guard buffers.move(request.buffer, copying: request.operation == .write) else { return false }
            }
            guard let offset = buffers.poolOffset(of: request.buffer) else { return false }
            data = offset
        }
        do {
            guard let control = try queues[place].add(request, flush: request.flushing, data: data, token: index) else { return false }
            requests[index].control = control
            requests.markSent(index, now: now)
            return true
        } catch {
            // Only the stub's own numbers can be wrong here, and they are not: the session ends all the same.
            brokenQueue = brokenQueue ?? error
            return false
        }
    }

    /// Shows the DD/OS what was submitted in this turn: at most one doorbell for each queue.
    public mutating func publish(_ outbox: inout MessageOutbox) throws(SessionEnd) {
        guard state == .ready else { return }
        if requests.heldCount > 0, buffers.releasedSome {
            for export in exports.indices { sendHeld(export: export) }
        }
        if let broken = brokenQueue { throw broken }
        for place in 0..<queues.count where queues[place].hasUnpublished {
            guard queues[place].publish() else { continue }
            counters.doorbellsSent += 1
            do { try outbox.eventAvail(device: queues[place].device, queue: 0) } catch {
                // As many unsent doorbells as that are the peer's fault: it does not read.
                throw SessionEnd(.protocolViolation, "the server stub does not read its messages")
            }
        }
    }

    /// Takes back what the DD/OS has finished. True if there was anything.
    public mutating func takeUsed() throws(SessionEnd) -> Bool {
        guard state == .ready else { return false }
        var found = false
        for place in 0..<queues.count {
            var freed = false
            while let used = try queues[place].popUsed() {
                freed = true
                try take(used, from: place)
            }
            if freed {
                found = true
                if requests.heldCount > 0, let export = queueOfExport.firstIndex(of: place) { sendHeld(export: export) }
            }
        }
        if found { liveness.heard(at: now) }
        return found
    }

    private mutating func take(_ used: UsedChain, from place: Int) throws(SessionEnd) {
        let index = UInt32(truncatingIfNeeded: used.token)
        let request = requests[index]
        let status = try queues[place].takeStatus(control: request.control)
        switch status {
        case .ok:
            if request.operation == .read, used.length != request.length + 1 {
                // Fewer bytes written than asked for: what is in the buffer may be somebody else's.
                throw .violation("a read of \(request.length) bytes came back as done with \(used.length) bytes written")
            }
            if request.fua, !request.flushing {
                requests.holdForFlush(index)
                if let export = queueOfExport.firstIndex(of: place) { sendHeld(export: export) }
            } else {
                finish(index, .ok)
            }
        case .ioError: finish(index, .ioError)
        case .unsupported: finish(index, .unsupported)
        }
    }

    /// Whether ``takeUsed()`` would find something. Loads only; for a loop that polls before it sleeps.
    public var hasUsed: Bool {
        guard state == .ready else { return false }
        for place in 0..<queues.count where queues[place].hasUsed { return true }
        return false
    }

    /// Asks for doorbells, before sleeping. True: something is there already, so do not sleep.
    public mutating func enableNotifications() -> Bool {
        guard state == .ready else { return false }
        var found = false
        for place in 0..<queues.count where queues[place].inFlight > 0 {
            if queues[place].enableNotification() { found = true }
        }
        return found
    }

    /// Doorbells are not needed while this side looks.
    public mutating func disableNotifications() {
        guard state == .ready else { return }
        for place in 0..<queues.count { queues[place].disableNotification() }
    }
}
