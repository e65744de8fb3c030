public import ControlModel
public import Foundation

/// One DD/OS at one moment.
public struct DDOSReading: Sendable, Equatable {
    public var name: String
    public var phase: DDOSPhase
    public var vmm: ProcessTimes
    public var stub: ProcessTimes
    /// Completed since the first start.
    public var requests: UInt64
    public var vmmMemory: ProcessMemory
    public var stubMemory: ProcessMemory
    public var uptimeSeconds: Double?
    public var restarts: Int
    public var lostSeconds: Double
    /// Since it was first started: what its counters cover.
    public var ageSeconds: Double

    public init(
        name: String, phase: DDOSPhase, vmm: ProcessTimes = .init(), stub: ProcessTimes = .init(), requests: UInt64 = 0,
        vmmMemory: ProcessMemory = .init(), stubMemory: ProcessMemory = .init(), uptimeSeconds: Double? = nil, restarts: Int = 0,
        lostSeconds: Double = 0, ageSeconds: Double = 0
    ) {
        self.name = name
        self.phase = phase
        self.vmm = vmm
        self.stub = stub
        self.requests = requests
        self.vmmMemory = vmmMemory
        self.stubMemory = stubMemory
        self.uptimeSeconds = uptimeSeconds
        self.restarts = restarts
        self.lostSeconds = lostSeconds
        self.ageSeconds = ageSeconds
    }
}

/// Everything at one moment.
public struct Reading: Sendable, Equatable {
    /// Seconds, monotonic.
    public var time: Double
    public var ddos: [DDOSReading]
    public var supervisor: ProcessTimes
    public var supervisorMemory: ProcessMemory

    public init(time: Double, ddos: [DDOSReading], supervisor: ProcessTimes, supervisorMemory: ProcessMemory) {
        self.time = time
        self.ddos = ddos
        self.supervisor = supervisor
        self.supervisorMemory = supervisorMemory
    }
}

extension CPUReport {
    /// What happened between two readings; `from` nil: since the first DD/OS was started.
    ///
    /// A DD/OS that is only in the second reading counts from its start. Differences are never negative.
    public init(from: Reading?, to: Reading, processors: Int, supervisor pid: Int32, uptime: Double, at now: Date) {
        // The counters outlive a supervisor, so without a first reading they may cover more than its own time.
        let interval = max(from.map { to.time - $0.time } ?? max(uptime, to.ddos.map(\.ageSeconds).max() ?? 0), 1e-9)
        let processors = max(1, processors)
        func usage(vcpu: Double, vmm: Double, stub: Double, more: Double = 0) -> CPUUsage {
            let total = vcpu + vmm + stub + more
            return CPUUsage(
                vcpuSeconds: vcpu, vmmSeconds: vmm, stubSeconds: stub, totalSeconds: total, shareOfOneCPU: total / interval,
                shareOfMachine: total / interval / Double(processors))
        }
        let before = Dictionary((from?.ddos ?? []).map { ($0.name, $0) }) { first, _ in first }
        let rows = to.ddos.map { now in
            let old = before[now.name]
            let vmm = now.vmm - (old?.vmm ?? ProcessTimes())
            let stub = now.stub - (old?.stub ?? ProcessTimes())
            let requests = now.requests >= (old?.requests ?? 0) ? now.requests - (old?.requests ?? 0) : now.requests
            let cpu = usage(vcpu: max(0, vmm.vcpu), vmm: max(0, vmm.other), stub: max(0, stub.total))
            return DDOSUsage(
                name: now.name, phase: now.phase, cpu: cpu, requests: requests,
                cpuMicrosecondsPerRequest: requests > 0 ? cpu.totalSeconds / Double(requests) * 1e6 : nil, guestBytes: now.vmmMemory.shared,
                vmmBytes: now.vmmMemory.own, stubBytes: now.stubMemory.own, uptimeSeconds: now.uptimeSeconds, restarts: now.restarts,
                lostSeconds: now.lostSeconds)
        }
        let own = max(0, to.supervisor.total - (from?.supervisor.total ?? 0))
        let (vcpu, vmm, stub) = rows.reduce((0.0, 0.0, 0.0)) {
            ($0.0 + $1.cpu.vcpuSeconds, $0.1 + $1.cpu.vmmSeconds, $0.2 + $1.cpu.stubSeconds)
        }
        let count = Double(rows.count)
        self.init(
            time: now, intervalSeconds: interval, processors: processors, ddos: rows,
            supervisor: SupervisorUsage(
                pid: pid, cpuSeconds: own, shareOfOneCPU: own / (from == nil ? max(uptime, 1e-9) : interval),
                residentBytes: to.supervisorMemory.own + to.supervisorMemory.shared, uptimeSeconds: uptime),
            mean: rows.isEmpty ? nil : usage(vcpu: vcpu / count, vmm: vmm / count, stub: stub / count),
            total: usage(vcpu: vcpu, vmm: vmm, stub: stub, more: own))
    }
}
