import ControlAPI
import ControlModel
import Foundation
import Glibc

/// The supervisor's events as they come, over deaths of the supervisor too.
actor EventFeed {
    private(set) var events: [Event] = []
    /// VMMs that have to be gone when their DD/OS is said to be fenced.
    private var watched: [String: Int32] = [:]
    /// What was seen to be wrong at the moment of an event.
    private(set) var complaints: [String] = []
    private let client: ControlClient
    private var task: Task<Void, Never>?

    init(socketPath: String) {
        client = ControlClient(socketPath: socketPath)
    }

    func start() {
        task = Task {
            while !Task.isCancelled {
                do {
                    for try await event in try await client.events(from: last + 1, follow: true) { take(event) }
                } catch {
                    // No supervisor at the moment.
                }
                try? await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    func stop() async {
        task?.cancel()
        await client.shutdown()
    }

    var last: UInt64 { events.last?.sequence ?? 0 }

    /// `pid` is the VMM of the DD/OS's present life.
    func watch(_ name: String, pid: Int32) {
        watched[name] = pid
    }

    private func take(_ event: Event) {
        if let previous = events.last, event.sequence != previous.sequence + 1 {
            complaints.append("event \(event.sequence) came after \(previous.sequence)")
        }
        events.append(event)
        if event.kind == .fenced, let name = event.ddos, let pid = watched.removeValue(forKey: name), access("/proc/\(pid)", F_OK) == 0 {
            complaints.append("\(name) was said to be fenced while its old VMM, pid \(pid), was still there")
        }
    }

    func of(_ name: String, after sequence: UInt64) -> [Event] {
        events.filter { $0.ddos == name && $0.sequence > sequence }
    }

    /// The first event of this kind after `sequence`. A quarantine that nobody waits for ends the waiting, and so does a failure where a start is
    /// waited for: what follows is a recovery.
    func wait(_ kind: EventKind, of name: String, after sequence: UInt64, within limit: Duration) async throws -> Event {
        try await eventually("event '\(kind.rawValue)' of \(name)", within: limit) {
            let events = of(name, after: sequence)
            if let event = events.first(where: { $0.kind == kind }) { return event }
            if let bad = events.first(where: { $0.kind == .quarantined || kind == .ready && $0.kind == .failed }) {
                throw Failure("\(name): \(bad.message)")
            }
            return nil
        }
    }

    /// The newest events as lines, for a person who wonders what went wrong.
    func tail(_ count: Int) -> String {
        events.suffix(count).map { "\($0.sequence) \($0.ddos ?? "-") \($0.kind.rawValue): \($0.message)" }.joined(separator: "\n")
    }
}
