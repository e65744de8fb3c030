import Foundation
import Synchronization

/// Threads for calls that block, as every call of libvirt's does: never the cooperative pool, which has as few threads as the machine has
/// processors and would stop everybody's tasks.
///
/// Threads are made on demand, up to a limit, and kept: the end of one machine (up to seconds) does not delay the start of another.
final class BlockingCalls: @unchecked Sendable {
    private let condition = NSCondition()
    // Guarded by `condition`.
    private var limit: Int
    private var work: [@Sendable () -> Void] = []
    private var threads = 0
    private var idle = 0
    private var ended = false

    init(limit: Int = 16) {
        self.limit = limit
    }

    /// Runs `body` on a thread of its own; the caller's task only waits.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(HypervisorError) -> Value
    ) async throws(HypervisorError) -> Value {
        let result = await withCheckedContinuation { continuation in
            add {
                let result = Result { () throws(HypervisorError) in try body() }
                continuation.resume(returning: result)
            }
        }
        return try result.get()
    }

    /// The same, but does not wait for longer than `limit`: nil when that has passed. `body` then goes on, on a thread that does not
    /// count, and what comes of it is dropped.
    func run<Value: Sendable>(
        within limit: Duration, _ body: @escaping @Sendable () throws(HypervisorError) -> Value
    ) async throws(HypervisorError) -> Value? {
        typealias Answer = Result<Value, HypervisorError>
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Answer?, Never>) in
            let race = Race<Answer>(continuation)
            let timer = Task {
                try? await Task.sleep(for: limit)
                if race.end(nil) { changeLimit(by: 1) }
            }
            add {
                let result = Answer { () throws(HypervisorError) in try body() }
                if race.end(result) { timer.cancel() } else { self.changeLimit(by: -1) }
            }
        }
        return try result?.get()
    }

    /// Whoever comes first answers.
    private final class Race<Value: Sendable>: Sendable {
        private let waiting: Mutex<CheckedContinuation<Value?, Never>?>

        init(_ continuation: CheckedContinuation<Value?, Never>) { waiting = Mutex(continuation) }

        /// False: somebody was quicker.
        func end(_ value: Value?) -> Bool {
            guard let continuation = waiting.withLock({ $0.take() }) else { return false }
            continuation.resume(returning: value)
            return true
        }
    }

    /// A thread is lost to a call that is overdue, or comes back from it.
    private func changeLimit(by difference: Int) {
        let another = condition.withLock {
            limit += difference
            guard difference > 0, !work.isEmpty, idle < work.count, threads < limit else { return false }
            threads += 1
            return true
        }
        if another { startThread() }
    }

    /// Lets the threads end once they have nothing to do. Work that is added later still runs.
    func finish() {
        condition.withLock {
            ended = true
            condition.broadcast()
        }
    }

    private func add(_ item: @escaping @Sendable () -> Void) {
        let another = condition.withLock {
            work.append(item)
            if idle < work.count, threads < limit {
                threads += 1
                return true
            }
            condition.signal()
            return false
        }
        if another { startThread() }
    }

    private func startThread() {
        let thread = Thread { [self] in loop() }
        thread.name = "libvirt call"
        thread.stackSize = 512 << 10
        thread.start()
    }

    private func loop() {
        while let item = next() { item() }
    }

    private func next() -> (@Sendable () -> Void)? {
        condition.withLock {
            idle += 1
            defer { idle -= 1 }
            while work.isEmpty {
                if ended {
                    threads -= 1
                    return nil
                }
                condition.wait()
            }
            return work.removeFirst()
        }
    }
}
