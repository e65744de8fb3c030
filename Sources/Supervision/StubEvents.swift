import StubControl
import Synchronization

/// What one client stub tells, in order, for one consumer.
///
/// A guest's log lines that nobody has taken yet are bounded, for the guest writes as many as it likes; everything else is kept, because
/// what becomes of the DD/OS depends on it.
final class StubEvents: AsyncSequence, Sendable {
    typealias Element = StubEvent
    typealias Failure = Never

    /// Lines that may wait.
    static let mostLines = 256

    private struct Lines {
        var waiting = 0
        var leftOut = 0
    }

    private let stream: AsyncStream<StubEvent>
    private let continuation: AsyncStream<StubEvent>.Continuation
    private let lines = Mutex(Lines())

    init() { (stream, continuation) = AsyncStream.makeStream(of: StubEvent.self) }

    func add(_ event: StubEvent) {
        guard case .guestLog = event else {
            continuation.yield(event)
            return
        }
        let leftOut = lines.withLock { lines -> Int? in
            guard lines.waiting < Self.mostLines else {
                lines.leftOut += 1
                return nil
            }
            defer { lines.leftOut = 0 }
            lines.waiting += lines.leftOut > 0 ? 2 : 1
            return lines.leftOut
        }
        guard let leftOut else { return }
        if leftOut > 0 { continuation.yield(.guestLog("\(leftOut) lines of the guest's log left out: droverd was busy")) }
        continuation.yield(event)
    }

    func finish() { continuation.finish() }

    func makeAsyncIterator() -> Iterator { Iterator(base: stream.makeAsyncIterator(), events: self) }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var base: AsyncStream<StubEvent>.Iterator
        fileprivate let events: StubEvents

        mutating func next(isolation actor: isolated (any Actor)?) async -> StubEvent? {
            let event = await base.next(isolation: actor)
            if case .guestLog = event { events.lines.withLock { $0.waiting -= 1 } }
            return event
        }
    }
}
