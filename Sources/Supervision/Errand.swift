import Foundation
import PCIInventory
import Synchronization

/// Work that may block inside the kernel, on a thread of its own, and the one who waits for it: until a deadline, or until cancelled. Then
/// the thread is left to itself, since nothing can be done about it, and knows by its claim that nobody waits any more.
final class Errand<Value: Sendable>: Sendable {
    private struct State {
        var waiting: CheckedContinuation<Value, any Error>?
        /// The first one counts.
        var answer: Result<Value, any Error>?
    }

    private let claim = Claim()
    private let state = Mutex(State())

    /// - Parameters:
    ///   - late: What has not happened when the deadline passes.
    ///   - body: Makes the claim when its result is to count even though the deadline has passed meanwhile.
    static func run(late: String, seconds: Double = 60, _ body: @escaping @Sendable (Claim) throws -> Value) async throws -> Value {
        let errand = Errand()
        let thread = Thread { errand.answer(Result { try body(errand.claim) }) }
        thread.name = "devices"
        thread.start()
        let timeout = Task {
            try await Task.sleep(for: .seconds(seconds))
            errand.abandon(SupervisionError.deviceStuck(reason: "\(late) after \(Int(seconds)) s; see dmesg"))
        }
        defer { timeout.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { errand.wait($0) }
        } onCancel: {
            errand.abandon(CancellationError())
        }
    }

    private init() {}

    private func wait(_ continuation: CheckedContinuation<Value, any Error>) {
        let answer = state.withLock { state in
            if state.answer == nil { state.waiting = continuation }
            return state.answer
        }
        if let answer { continuation.resume(with: answer) }
    }

    /// Unless the claim is made: then the answer is about to come.
    private func abandon(_ reason: any Error) {
        if claim.abandon() { answer(.failure(reason)) }
    }

    private func answer(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            guard state.answer == nil else { return nil }
            state.answer = result
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume(with: result)
    }
}
