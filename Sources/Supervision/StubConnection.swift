import Foundation
import Glibc
import LinuxSystem
import StubControl
import Synchronization

/// The control socket of one client stub: commands out, replies and events in, a JSON object a line.
final class StubConnection: Sendable {
    /// Ends when the connection does: the stub is gone, or ``close()`` was called.
    let events = StubEvents()

    private struct State {
        var descriptor: Int32
        var nextID: UInt64 = 1
        var waiting: [UInt64: Waiter] = [:]
        var open = true
    }

    private struct Waiter {
        var continuation: CheckedContinuation<Answer, Never>
        var timer: Task<Void, Never>
    }

    private enum Answer {
        case reply(StubReply)
        case late
        case disconnected
    }

    private let state: Mutex<State>
    private let name: String

    /// Connects, trying until `seconds` are over: a stub that just started does not listen yet. `process`: stop trying when it is gone.
    static func connect(name: String, path: String, seconds: Double, isAlive: @Sendable () -> Bool) async -> StubConnection? {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        while true {
            if let descriptor = connectOnce(path) { return StubConnection(name: name, descriptor: descriptor) }
            guard clock.now < end, isAlive() else { return nil }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    init(name: String, descriptor: Int32) {
        self.name = name
        state = Mutex(State(descriptor: descriptor))
        // Reading blocks, so it has a thread of its own: there is one for each DD/OS, asleep nearly always.
        let thread = Thread { [self] in
            read(descriptor)
            end()
            events.finish()
        }
        thread.name = "stub-\(name)"
        thread.stackSize = 256 << 10
        thread.start()
    }

    /// The reply, or an error when there is none in time.
    func call(_ action: StubCommand.Action, seconds: Double) async throws(SupervisionError) -> StubReply {
        let operation = Self.operation(action)
        let answer = await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
            let id = state.withLock { state -> UInt64? in
                guard state.open else { return nil }
                let id = state.nextID
                state.nextID += 1
                let timer = Task { [weak self] in
                    guard (try? await Task.sleep(for: .seconds(seconds))) != nil else { return }
                    self?.answer(id, .late)
                }
                state.waiting[id] = Waiter(continuation: continuation, timer: timer)
                return id
            }
            guard let id else { return continuation.resume(returning: .disconnected) }
            if !send(StubCommand(id: id, action: action)) { self.answer(id, .disconnected) }
        }
        switch answer {
        case .reply(.refused(let reason)): throw .stubRefused(name: name, operation: operation, reason: reason)
        case .reply(let reply): return reply
        case .late: throw .stubSilent(name: name, operation: operation, seconds: seconds)
        case .disconnected: throw .stubDisconnected(name: name)
        }
    }

    func status(seconds: Double) async throws(SupervisionError) -> StubStatus {
        guard case .status(let status) = try await call(.status, seconds: seconds) else {
            throw .stubRefused(name: name, operation: "status", reason: "it answered something else")
        }
        return status
    }

    /// Hangs up; the stub goes on without us.
    func close() {
        state.withLock { if $0.open { _ = shutdown($0.descriptor, Int32(SHUT_RDWR)) } }
    }

    /// Whoever comes first, the reply, the timeout or the hang-up, answers; the others find nobody waiting.
    private func answer(_ id: UInt64, _ answer: Answer) {
        guard let waiter = state.withLock({ $0.waiting.removeValue(forKey: id) }) else { return }
        waiter.timer.cancel()
        waiter.continuation.resume(returning: answer)
    }

    private func end() {
        let waiting = state.withLock { state in
            state.open = false
            Glibc.close(state.descriptor)
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for waiter in waiting {
            waiter.timer.cancel()
            waiter.continuation.resume(returning: .disconnected)
        }
    }

    private func send(_ command: StubCommand) -> Bool {
        guard var line = try? JSONEncoder().encode(command) else { return false }
        line.append(UInt8(ascii: "\n"))
        return state.withLock { state in
            guard state.open else { return false }
            // Commands are short and the stub reads them first: a full socket means that it is stuck, and must not block us.
            let sent = line.withUnsafeBytes {
                Glibc.send(state.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            return sent == line.count
        }
    }

    /// A line longer than this is no message of a stub.
    private static let longestLine = 1 << 20

    private func read(_ descriptor: Int32) {
        var pending = Data()
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while pending.count <= Self.longestLine {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            pending.append(contentsOf: chunk[..<count])
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Data(pending[pending.startIndex..<end])
                pending.removeSubrange(pending.startIndex...end)
                guard let message = try? JSONDecoder().decode(StubMessage.self, from: line) else { continue }
                switch message {
                case .reply(let id, let reply): answer(id, .reply(reply))
                case .event(let event): events.add(event)
                }
            }
        }
    }

    private static func connectOnce(_ path: String) -> Int32? {
        guard let socket = try? UnixSocket.connect(path: path) else { return nil }
        return socket.release()
    }

    private static func operation(_ action: StubCommand.Action) -> String {
        switch action {
        case .status: "status"
        case .open: "open"
        case .close: "close"
        case .inject(let fault): "inject \(fault.rawValue)"
        case .fail: "fail"
        case .interface: "interface"
        case .shutdown: "shutdown"
        }
    }
}
