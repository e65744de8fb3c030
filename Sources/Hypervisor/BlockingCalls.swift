import Foundation

/// Threads for calls that block, as every call of libvirt's does: never the cooperative pool, which has as few threads as the machine has
/// processors and would stop everybody's tasks.
///
/// Threads are made on demand, up to a limit, and kept: the end of one machine (up to seconds) does not delay the start of another.
final class BlockingCalls: @unchecked Sendable {
    private let condition = NSCondition()
    private let limit: Int
    // Guarded by `condition`.
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
        guard another else { return }
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
