internal import Synchronization

/// Between the one who waits for a device and the one who takes it, in another thread that may block inside the kernel: whether the device
/// is still wanted is decided once, by whoever is first.
public final class Claim: Sendable {
    private enum State {
        case open
        case made
        case abandoned
    }

    private let state = Mutex(State.open)

    public init() {}

    /// The taking is done, and whoever waits will have it. False: nobody waits any more.
    func make() -> Bool {
        state.withLock { state in
            if state == .open { state = .made }
            return state == .made
        }
    }

    /// Nobody waits any more. False: too late, it is taken, and the answer is on its way.
    public func abandon() -> Bool {
        state.withLock { state in
            if state == .open { state = .abandoned }
            return state == .abandoned
        }
    }

    public var isAbandoned: Bool { state.withLock { $0 == .abandoned } }
}
