/// What `droverd` asks of a client stub, one JSON object a line on the stub's control socket.
///
/// Every command is answered by one ``StubMessage/reply`` with the same `id`. Commands are idempotent, so that a
/// supervisor that died between sending one and hearing its answer can send it again.
public struct StubCommand: Codable, Sendable, Equatable {
    /// Chosen by the supervisor; comes back in the reply.
    public var id: UInt64
    public var action: Action

    public init(id: UInt64, action: Action) {
        self.id = id
        self.action = action
    }

    public enum Action: Codable, Sendable, Equatable {
        /// Report the stub's state and counters.
        case status
        /// A new life of the DD/OS may connect. The supervisor sends it only after the previous life's VMM is gone and
        /// reaped, so nothing of the old life can touch the device any more. Until then the stub accepts no VMM.
        case open(generation: UInt64)
        /// End the session and refuse the VMM until the next ``open(generation:)``. Requests in flight are kept.
        case close(reason: String)
        /// Fault injection in the server stub of the current session (`drover inject`).
        case inject(StubFault)
        /// Quarantine with `onQuarantine: fail`: answer every held and every new request with an I/O error.
        case fail(reason: String)
        /// The slow path of a network DD/OS.
        case interface(StubInterfaceRequest)
        /// Let clients' requests finish or fail, close the front ends, exit with status 0.
        case shutdown
    }
}

/// A fault that the server stub brings about itself.
public enum StubFault: String, Codable, Sendable {
    /// The server stub stops serving and answering, as a stuck program would.
    case hang
    /// The guest's kernel panics (sysrq `c`).
    case panic
}

/// One line from a client stub to its supervisor: the answer to a command, or an event.
public enum StubMessage: Codable, Sendable, Equatable {
    case reply(id: UInt64, StubReply)
    case event(StubEvent)
}

/// The answer to a ``StubCommand``.
public enum StubReply: Codable, Sendable, Equatable {
    case done
    case status(StubStatus)
    case refused(String)
    case interface(StubInterface)
    case statistics([StubStatistic])
}

/// Something that happened in a client stub. Sent to every connected supervisor, in order.
public enum StubEvent: Codable, Sendable, Equatable {
    /// Disks are offered; requests flow. `replayed` requests of the last life were put on the new queue.
    case sessionReady(generation: UInt64, disks: [StubDisk], replayed: Int)
    /// The interface carries packets (network DD/OSs).
    case interfaceReady(generation: UInt64, StubInterface)
    /// Something of the interface changed in the guest: its carrier, mostly.
    case interfaceChanged(StubInterface)
    /// The session ended without the supervisor asking for it. The DD/OS has to be replaced.
    case sessionLost(generation: UInt64, cause: SessionLossCause, reason: String)
    /// The guest's server stub said this (a driver it could not load, a disk it left out).
    case guestLog(String)
}

/// Why a session ended, for policy to switch over.
public enum SessionLossCause: String, Codable, Sendable {
    case hangUp
    case protocolViolation
    case pingTimeout
    case requestDeadline
    case handshakeTimeout
}

/// A disk that a DD/OS offers.
public struct StubDisk: Codable, Sendable, Equatable {
    /// The NBD export's name, for instance `nvme0n1`.
    public var name: String
    /// Bytes.
    public var size: UInt64
    /// Bytes.
    public var blockSize: UInt32
    public var readOnly: Bool

    public init(name: String, size: UInt64, blockSize: UInt32, readOnly: Bool) {
        self.name = name
        self.size = size
        self.blockSize = blockSize
        self.readOnly = readOnly
    }
}

/// A client stub's state and counters since it started.
public struct StubStatus: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable {
        /// No life is allowed yet.
        case closed
        /// A life is allowed; no session yet.
        case waiting
        /// Requests flow.
        case ready
        /// Quarantined: requests fail.
        case failing
    }

    public var pid: Int32
    public var state: State
    public var generation: UInt64
    public var disks: [StubDisk] = []
    /// Requests sent to the DD/OS and not answered.
    public var inFlight: Int = 0
    /// Requests held because there is no session.
    public var held: Int = 0
    public var requestsCompleted: UInt64 = 0
    public var requestsFailed: UInt64 = 0
    public var requestsReplayed: UInt64 = 0
    public var bytesRead: UInt64 = 0
    public var bytesWritten: UInt64 = 0
    public var doorbellsSent: UInt64 = 0
    public var doorbellsReceived: UInt64 = 0
    public var sessionsLost: UInt64 = 0
    /// Connected clients of the front ends.
    public var clients: Int = 0
    /// Longest time between two completions while requests were waiting, in seconds, of the last recovery.
    public var lastRecoveryGap: Double = 0
    /// Of a network DD/OS; nil before its first session.
    public var interface: StubInterface?
    /// Of a network DD/OS.
    public var packets: StubInterfaceCounters?

    public init(pid: Int32, state: State, generation: UInt64) {
        self.pid = pid
        self.state = state
        self.generation = generation
    }
}
