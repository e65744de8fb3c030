public import ControlModel

extension DDOSMachine {
    public enum Input: Sendable, Equatable {
        case startRequested
        case stopRequested
        /// A new life, although nothing failed.
        case restartRequested
        case imageReady
        case stubReady
        /// The stub accepts this generation.
        case sessionOpened(generation: UInt64)
        case virtualMachineStarted(generation: UInt64)
        /// The image, the stub, the session or the VM of a start.
        case startFailed(generation: UInt64, reason: String)
        case sessionReady(generation: UInt64, replayed: Int)
        /// The life is over, or has to be.
        case failed(generation: UInt64, cause: FailureCause, reason: String)
        case stubLost(reason: String)
        /// The stub ended on request.
        case stubStopped
        /// The VM of this generation is gone and reaped.
        case fenced(generation: UInt64)
        case fenceFailed(generation: UInt64, reason: String)
        case timerFired(UInt64)
        /// Once, first: what a new supervisor found.
        case adopt(Found)
    }

    /// What is left of the life before this supervisor.
    public enum Found: Sendable, Equatable {
        /// VM, stub and session are there.
        case ready
        /// VM and stub are there, the session is not yet.
        case booting
        /// Something of it is missing: this is what.
        case broken(cause: FailureCause, reason: String)
        /// Neither VM nor stub.
        case nothing
    }

    public enum Effect: Sendable, Equatable {
        /// → imageReady or startFailed
        case prepareImage
        /// Have a stub run and be connected. → stubReady or startFailed
        case startStub
        /// → sessionOpened or startFailed
        case openSession(generation: UInt64)
        /// → virtualMachineStarted or startFailed
        case startVirtualMachine(generation: UInt64)
        /// Close the session, destroy the VM, wait until it is gone and reaped. Harmless when there is none.
        /// → fenced or fenceFailed
        case fence(generation: UInt64, reason: String)
        /// → stubStopped, always
        case stopStub
        /// Held and new requests get errors until the next session.
        case failRequests(reason: String)
        /// Replaces the timer there was. → timerFired with this number
        case setTimer(UInt64, seconds: Double)
        case emit(Report)
    }

    /// An event in the making: the log adds number, time and name.
    public struct Report: Sendable, Equatable {
        public var kind: EventKind
        public var message: String
        public var generation: UInt64?
        public var cause: FailureCause?
        public var recovery: Recovery?

        init(_ kind: EventKind, _ message: String, generation: UInt64? = nil, cause: FailureCause? = nil, recovery: Recovery? = nil) {
            self.kind = kind
            self.message = message
            self.generation = generation
            self.cause = cause
            self.recovery = recovery
        }
    }
}
