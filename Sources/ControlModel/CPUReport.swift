public import Foundation

/// `drover report`: what Drover costs, over one interval.
public struct CPUReport: Codable, Sendable, Equatable {
    /// When the interval ended.
    public var time: Date
    /// Its length. For a report since the start: since the first DD/OS was started.
    public var intervalSeconds: Double
    /// CPUs of this machine: the denominator of `shareOfMachine`.
    public var processors: Int
    public var ddos: [DDOSUsage]
    /// `droverd` itself.
    public var supervisor: SupervisorUsage
    /// Mean per DD/OS, the supervisor's cost not included. Nil when there is none.
    public var mean: CPUUsage?
    /// All DD/OSs and the supervisor.
    public var total: CPUUsage

    public init(
        time: Date, intervalSeconds: Double, processors: Int, ddos: [DDOSUsage], supervisor: SupervisorUsage, mean: CPUUsage?,
        total: CPUUsage
    ) {
        self.time = time
        self.intervalSeconds = intervalSeconds
        self.processors = processors
        self.ddos = ddos
        self.supervisor = supervisor
        self.mean = mean
        self.total = total
    }
}

/// CPU time in seconds, over the report's interval.
public struct CPUUsage: Codable, Sendable, Equatable {
    /// Threads that run the guest.
    public var vcpuSeconds: Double
    /// The VMM's other threads.
    public var vmmSeconds: Double
    /// The client stub.
    public var stubSeconds: Double
    /// All of these, and the supervisor's where it is included.
    public var totalSeconds: Double
    /// `totalSeconds` over the interval: 1 is one CPU fully used.
    public var shareOfOneCPU: Double
    /// The same over all CPUs of the machine: 1 is the whole machine.
    public var shareOfMachine: Double

    public init(
        vcpuSeconds: Double, vmmSeconds: Double, stubSeconds: Double, totalSeconds: Double, shareOfOneCPU: Double, shareOfMachine: Double
    ) {
        self.vcpuSeconds = vcpuSeconds
        self.vmmSeconds = vmmSeconds
        self.stubSeconds = stubSeconds
        self.totalSeconds = totalSeconds
        self.shareOfOneCPU = shareOfOneCPU
        self.shareOfMachine = shareOfMachine
    }
}

/// One DD/OS in the report. Lives and processes that ended within the interval are counted.
public struct DDOSUsage: Codable, Sendable, Equatable {
    public var name: String
    public var phase: DDOSPhase
    public var cpu: CPUUsage
    /// Completed within the interval.
    public var requests: UInt64
    /// `cpu.totalSeconds` over `requests`, microseconds; nil without requests.
    public var cpuMicrosecondsPerRequest: Double?
    /// Bytes of the guest's memory that are resident.
    public var guestBytes: UInt64
    /// Bytes resident in the VMM apart from the guest's memory.
    public var vmmBytes: UInt64
    /// Bytes resident in the client stub apart from the guest's memory.
    public var stubBytes: UInt64
    /// Since ready; nil while down.
    public var uptimeSeconds: Double?
    /// Since the DD/OS was first started.
    public var restarts: Int
    /// Time without a session because of failures, since the DD/OS was first started, seconds.
    public var lostSeconds: Double

    public init(
        name: String, phase: DDOSPhase, cpu: CPUUsage, requests: UInt64, cpuMicrosecondsPerRequest: Double?, guestBytes: UInt64,
        vmmBytes: UInt64,
        stubBytes: UInt64, uptimeSeconds: Double?, restarts: Int, lostSeconds: Double
    ) {
        self.name = name
        self.phase = phase
        self.cpu = cpu
        self.requests = requests
        self.cpuMicrosecondsPerRequest = cpuMicrosecondsPerRequest
        self.guestBytes = guestBytes
        self.vmmBytes = vmmBytes
        self.stubBytes = stubBytes
        self.uptimeSeconds = uptimeSeconds
        self.restarts = restarts
        self.lostSeconds = lostSeconds
    }
}

/// The supervisor's own cost.
public struct SupervisorUsage: Codable, Sendable, Equatable {
    public var pid: Int32
    public var cpuSeconds: Double
    public var shareOfOneCPU: Double
    public var residentBytes: UInt64
    public var uptimeSeconds: Double

    public init(pid: Int32, cpuSeconds: Double, shareOfOneCPU: Double, residentBytes: UInt64, uptimeSeconds: Double) {
        self.pid = pid
        self.cpuSeconds = cpuSeconds
        self.shareOfOneCPU = shareOfOneCPU
        self.residentBytes = residentBytes
        self.uptimeSeconds = uptimeSeconds
    }
}
