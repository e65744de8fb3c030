import Synchronization

/// Remembers the latest of a row of texts.
final class ProgressMemory: Sendable {
    private let latest = Mutex("")

    func isNew(_ text: String) -> Bool {
        latest.withLock { latest in
            defer { latest = text }
            return latest != text
        }
    }
}
