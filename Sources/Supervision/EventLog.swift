public import ControlModel
import Foundation
import Glibc
public import Logging
import Synchronization

/// What happened, in order: the latest in memory, all of it in `events.jsonl`. Numbers go on after a restart of `droverd`.
public final class EventLog: Sendable {
    private struct State {
        var ring: [Event] = []
        var next: UInt64 = 1
        var followers: [UInt64: AsyncThrowingStream<Event, any Error>.Continuation] = [:]
        var nextFollower: UInt64 = 0
        var file: Int32 = -1
        var fileBytes = 0
        var closed = false
    }

    private let state = Mutex(State())
    private let path: String
    private let capacity: Int
    private let fileLimit: Int
    private let logger: Logger

    /// Opens the file, or begins it. `capacity`: events kept in memory. `fileLimit`: bytes after which the file is set aside
    /// as `.1`, replacing the one before.
    public init(path: String, capacity: Int = 4096, fileLimit: Int = 16 << 20, logger: Logger) {
        self.path = path
        self.capacity = capacity
        self.fileLimit = fileLimit
        self.logger = logger
        state.withLock { state in
            let decoder = ControlJSON.decoder()
            let data = FileManager.default.contents(atPath: path) ?? Data()
            // The last line may be torn: the supervisor before may have died while it wrote.
            for line in data.split(separator: UInt8(ascii: "\n")).suffix(capacity) {
                guard let event = try? decoder.decode(Event.self, from: Data(line)) else { continue }
                state.ring.append(event)
                state.next = max(state.next, event.sequence + 1)
            }
            open(&state)
            if let last = data.last, last != UInt8(ascii: "\n") { write(Data("\n".utf8), &state) }
        }
    }

    deinit { state.withLock { if $0.file >= 0 { close($0.file) } } }

    public var lastSequence: UInt64 { state.withLock { $0.next - 1 } }

    func append(_ kind: EventKind, _ message: String, ddos: String? = nil) {
        append(DDOSMachine.Report(kind, message), ddos: ddos)
    }

    func append(_ report: DDOSMachine.Report, ddos: String?, at time: Date = Date()) {
        let event = state.withLock { state in
            let event = Event(
                sequence: state.next, time: time, ddos: ddos, kind: report.kind, message: report.message, generation: report.generation,
                cause: report.cause, recovery: report.recovery)
            state.next += 1
            state.ring.append(event)
            // In blocks, so that an event costs the same whether the ring is full or not.
            if state.ring.count >= capacity + 256 { state.ring.removeFirst(256) }
            if var line = try? ControlJSON.encoder().encode(event) {
                line.append(UInt8(ascii: "\n"))
                write(line, &state)
            }
            for follower in state.followers.values { follower.yield(event) }
            return event
        }
        let level: Logger.Level =
            switch event.kind {
            case .failed, .quarantined, .stubLost, .warning: .warning
            case .imageProgress, .guestLog: .debug
            default: .info
            }
        logger.log(level: level, "\(event.ddos.map { "\($0): " } ?? "")\(event.message)")
    }

    /// Events from number `from` on that are still in memory, then, if `follow`, the ones to come.
    public func events(from: UInt64, follow: Bool) -> AsyncThrowingStream<Event, any Error> {
        // A follower that does not read loses the oldest: events must not pile up without bound.
        AsyncThrowingStream(bufferingPolicy: .bufferingNewest(max(capacity * 2, 16))) { continuation in
            let number: UInt64? = state.withLock { state in
                for event in state.ring where event.sequence >= from { continuation.yield(event) }
                guard follow, !state.closed else { return nil }
                state.nextFollower += 1
                state.followers[state.nextFollower] = continuation
                return state.nextFollower
            }
            guard let number else { return continuation.finish() }
            continuation.onTermination = { [weak self] _ in self?.state.withLock { _ = $0.followers.removeValue(forKey: number) } }
        }
    }

    /// Ends every follower's stream.
    public func finish() {
        let followers = state.withLock { state in
            state.closed = true
            defer { state.followers = [:] }
            return Array(state.followers.values)
        }
        for follower in followers { follower.finish() }
    }

    private func open(_ state: inout State) {
        state.file = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        state.fileBytes = state.file >= 0 ? Int(lseek(state.file, 0, SEEK_END)) : 0
        if state.file < 0 { logger.warning("cannot write \(path): \(errorText(errno)); events are kept in memory only") }
    }

    private func write(_ data: Data, _ state: inout State) {
        guard state.file >= 0 else { return }
        if state.fileBytes + data.count > fileLimit, state.fileBytes > 0 {
            close(state.file)
            rename(path, path + ".1")
            open(&state)
            guard state.file >= 0 else { return }
        }
        // A full disk costs the line in the file, nothing else.
        let written = data.withUnsafeBytes { Glibc.write(state.file, $0.baseAddress, $0.count) }
        if written > 0 { state.fileBytes += written }
    }
}
