public import Foundation

/// What a supervisor can be asked. `Supervision` provides it, `ControlAPI` serves it over HTTP and offers the same
/// interface to clients, so neither room needs to know the other.
public protocol ControlService: Sendable {
    func info() async throws(ControlError) -> SupervisorInfo
    /// In the configuration's order.
    func list() async throws(ControlError) -> [DDOSSummary]
    func inspect(_ name: String) async throws(ControlError) -> DDOSDetail
    /// Starts a stopped or quarantined DD/OS; a running one is left alone. Returns at once: watch ``DDOSSummary/phase``.
    func start(_ name: String) async throws(ControlError) -> DDOSSummary
    /// Stops a DD/OS: front ends closed, VM destroyed and reaped. Returns when that is done.
    func stop(_ name: String) async throws(ControlError) -> DDOSSummary
    /// Replaces a DD/OS's VM; requests in flight are replayed, clients see latency only. Returns at once.
    func restart(_ name: String) async throws(ControlError) -> DDOSSummary
    /// Brings a real fault about. Returns when it was delivered.
    func inject(_ name: String, _ fault: InjectedFault) async throws(ControlError)
    /// The NIC of a network DD/OS, its driver asked just now.
    func interface(_ name: String) async throws(ControlError) -> InterfaceDetail
    /// Changes a NIC, for this life of its DD/OS and the ones to come. What the driver refuses stays as it was.
    func change(_ name: String, _ change: InterfaceChange) async throws(ControlError) -> InterfaceDetail
    /// Events with sequence numbers from `from` on. With `follow` the stream goes on until it is cancelled or the supervisor
    /// ends; without, it finishes after the newest event.
    func events(from: UInt64, follow: Bool) async throws(ControlError) -> AsyncThrowingStream<Event, any Error>
    /// Measures for `interval` seconds (0.1…3600) and reports; nil reports everything since the DD/OSs were first started.
    func report(interval: Double?) async throws(ControlError) -> CPUReport
    /// Stops every DD/OS, then the supervisor. Returns when the DD/OSs are gone.
    func down() async throws(ControlError)
}

/// The supervisor about itself.
public struct SupervisorInfo: Codable, Sendable, Equatable {
    /// Version of this interface; a client of another major version should say so and stop.
    public var apiVersion: Int
    public var pid: Int32
    public var startedAt: Date
    public var uptimeSeconds: Double
    public var configurationFile: String
    public var runDirectory: String
    public var cacheDirectory: String
    public var libvirtURI: String
    /// `tcg` or `kvm`.
    public var accelerator: String
    /// Why that one, in words.
    public var acceleratorReason: String
    /// The newest event.
    public var lastEvent: UInt64

    /// The version these types describe.
    public static let currentAPIVersion = 1

    public init(
        apiVersion: Int = SupervisorInfo.currentAPIVersion, pid: Int32, startedAt: Date, uptimeSeconds: Double, configurationFile: String,
        runDirectory: String, cacheDirectory: String, libvirtURI: String, accelerator: String, acceleratorReason: String, lastEvent: UInt64
    ) {
        self.apiVersion = apiVersion
        self.pid = pid
        self.startedAt = startedAt
        self.uptimeSeconds = uptimeSeconds
        self.configurationFile = configurationFile
        self.runDirectory = runDirectory
        self.cacheDirectory = cacheDirectory
        self.libvirtURI = libvirtURI
        self.accelerator = accelerator
        self.acceleratorReason = acceleratorReason
        self.lastEvent = lastEvent
    }
}

/// A fault that `drover inject` brings about.
public enum InjectedFault: String, Codable, Sendable, CaseIterable {
    /// A non-maskable interrupt: the guest's kernel panics.
    case panic
    /// SIGKILL of the VMM.
    case kill
    /// The server stub stops serving and answering.
    case hang
}

/// Why a request to the supervisor failed; also the body of an HTTP error response.
public struct ErrorBody: Codable, Sendable, Equatable {
    public enum Code: String, Codable, Sendable, CaseIterable {
        /// No DD/OS of that name. HTTP 404.
        case notFound
        /// The request makes no sense as it is. HTTP 400.
        case invalid
        /// Not possible in the present phase. HTTP 409.
        case conflict
        /// The supervisor could not do it. HTTP 500.
        case failed
        /// It took too long. HTTP 504.
        case timedOut
        /// The supervisor is going down, or is not there. HTTP 503.
        case unavailable
    }

    public var code: Code
    /// What happened, to which object, and what the person can do: one sentence.
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }
}

/// ``ErrorBody`` as an error.
public struct ControlError: Error, Sendable, Equatable, CustomStringConvertible {
    public var body: ErrorBody

    public init(_ code: ErrorBody.Code, _ message: String) {
        body = ErrorBody(code: code, message: message)
    }

    public init(_ body: ErrorBody) {
        self.body = body
    }

    public var description: String { body.message }
}
