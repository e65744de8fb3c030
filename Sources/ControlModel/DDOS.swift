public import Foundation

/// Where a DD/OS is in its life. One word a person can read, the same in tables, JSON and events.
public enum DDOSPhase: String, Codable, Sendable, CaseIterable {
    /// Not running, and not meant to run.
    case stopped
    /// Its image is being built or looked up.
    case preparing
    /// Its client stub and its VM are being started.
    case starting
    /// The VM runs; no session yet.
    case booting
    /// Requests flow.
    case ready
    /// A life has ended; its VM is being destroyed and reaped. Nothing else happens until that is done.
    case fencing
    /// Waiting before the next life.
    case backingOff
    /// Failed too often; it stays down until `drover start NAME`.
    case quarantined
    /// Being stopped on request.
    case stopping
}

/// One line of `drover ps`.
public struct DDOSSummary: Codable, Sendable, Equatable {
    public var name: String
    public var phase: DDOSPhase
    /// What it is doing or why it is down, in a few words; empty when there is nothing to add.
    public var status: String
    /// What the device is: `block` or `network`.
    public var deviceClass: String
    /// The device in words: `nvme (emulated)` or `0000:01:00.0`.
    public var device: String
    /// The image recipe: `debian-6.1`.
    public var image: String
    /// Lives so far; the session's generation. 0 before the first.
    public var generation: UInt64
    /// Lives that ended without anyone asking, since `droverd` first started this DD/OS.
    public var restarts: Int
    /// Seconds since the present session became ready; nil while there is none.
    public var uptimeSeconds: Double?
    public var vmmPID: Int32?
    public var stubPID: Int32?
    public var disks: [DiskSummary]
    public var frontEnds: [FrontEndSummary]
    /// Of a network DD/OS, and only of one.
    public var interface: InterfaceSummary?

    public init(
        name: String, phase: DDOSPhase, status: String, deviceClass: String, device: String, image: String, generation: UInt64 = 0,
        restarts: Int = 0, uptimeSeconds: Double? = nil, vmmPID: Int32? = nil, stubPID: Int32? = nil, disks: [DiskSummary] = [],
        frontEnds: [FrontEndSummary] = []
    ) {
        self.name = name
        self.phase = phase
        self.status = status
        self.deviceClass = deviceClass
        self.device = device
        self.image = image
        self.generation = generation
        self.restarts = restarts
        self.uptimeSeconds = uptimeSeconds
        self.vmmPID = vmmPID
        self.stubPID = stubPID
        self.disks = disks
        self.frontEnds = frontEnds
    }
}

/// A disk that a DD/OS offers.
public struct DiskSummary: Codable, Sendable, Equatable {
    /// The export's name, for instance `nvme0n1`.
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

/// How the host's programs reach a DD/OS's device.
public struct FrontEndSummary: Codable, Sendable, Equatable {
    /// `nbd`.
    public var kind: String
    /// A path of a socket.
    public var path: String
    /// One URI a disk, for instance `nbd+unix:///nvme0n1?socket=/run/drover/nbd/nvme0.sock`. Empty until disks are known.
    public var uris: [String]

    public init(kind: String, path: String, uris: [String] = []) {
        self.kind = kind
        self.path = path
        self.uris = uris
    }
}

/// Everything `drover inspect NAME` says.
public struct DDOSDetail: Codable, Sendable, Equatable {
    public var summary: DDOSSummary
    public var memoryMiB: Int
    public var vcpus: Int
    /// The vsock address of the DD/OS.
    public var cid: UInt32
    /// `tcg` or `kvm`.
    public var accelerator: String
    /// Content address of the image in use; nil before it was built.
    public var imageHash: String?
    public var kernelVersion: String?
    /// Settings in force, defaults included, as lines of `key: value`.
    public var settings: [String: String]
    public var consoleLog: String
    public var stubLog: String
    /// The client stub's counters; nil when it does not answer.
    public var requests: RequestCounters?
    /// Failures within the quarantine window, oldest first.
    public var failures: [FailureRecord]
    /// The latest recoveries, oldest first, at most 32.
    public var recoveries: [Recovery]
    /// Last lines of the console when the last life failed; empty if none did.
    public var lastConsoleLines: [String]
    /// Where the time of the latest start went; nil when this supervisor has not seen one to its end.
    public var lastStart: StartTimeline?

    public init(
        summary: DDOSSummary, memoryMiB: Int, vcpus: Int, cid: UInt32, accelerator: String, imageHash: String? = nil,
        kernelVersion: String? = nil, settings: [String: String] = [:], consoleLog: String, stubLog: String,
        requests: RequestCounters? = nil,
        failures: [FailureRecord] = [], recoveries: [Recovery] = [], lastConsoleLines: [String] = []
    ) {
        self.summary = summary
        self.memoryMiB = memoryMiB
        self.vcpus = vcpus
        self.cid = cid
        self.accelerator = accelerator
        self.imageHash = imageHash
        self.kernelVersion = kernelVersion
        self.settings = settings
        self.consoleLog = consoleLog
        self.stubLog = stubLog
        self.requests = requests
        self.failures = failures
        self.recoveries = recoveries
        self.lastConsoleLines = lastConsoleLines
    }
}

/// A client stub's counters since it started.
public struct RequestCounters: Codable, Sendable, Equatable {
    /// Sent to the DD/OS and not answered.
    public var inFlight: Int = 0
    /// Held because there is no session.
    public var held: Int = 0
    public var completed: UInt64 = 0
    public var failed: UInt64 = 0
    public var replayed: UInt64 = 0
    /// Bytes.
    public var bytesRead: UInt64 = 0
    /// Bytes.
    public var bytesWritten: UInt64 = 0
    public var doorbellsSent: UInt64 = 0
    public var doorbellsReceived: UInt64 = 0
    public var sessionsLost: UInt64 = 0
    /// Connected clients of the front ends.
    public var clients: Int = 0
    /// Longest time between two completions during the last recovery, seconds.
    public var lastRecoveryGapSeconds: Double = 0

    public init() {}
}

/// One failure of a DD/OS.
public struct FailureRecord: Codable, Sendable, Equatable {
    public var time: Date
    public var generation: UInt64
    public var cause: FailureCause
    public var reason: String

    public init(time: Date, generation: UInt64, cause: FailureCause, reason: String) {
        self.time = time
        self.generation = generation
        self.cause = cause
        self.reason = reason
    }
}

/// Why a life ended.
public enum FailureCause: String, Codable, Sendable, CaseIterable {
    /// The guest's kernel panicked.
    case panic
    /// The VMM is gone: killed or crashed.
    case vmmGone
    /// The guest's watchdog fired.
    case watchdog
    /// The guest powered itself off or reset.
    case guestStopped
    /// The server stub stopped answering.
    case hang
    /// A request was not answered within its deadline.
    case requestDeadline
    /// The guest broke the protocol.
    case protocolViolation
    /// The connection between the stubs broke.
    case hangUp
    /// No session within the boot deadline.
    case bootDeadline
    /// The client stub is gone.
    case stubGone
    /// It could not be started: the image, the stub or the VM.
    case startFailed
    /// Nobody watched when it died: found dead by a new `droverd`.
    case diedUnwatched
}
