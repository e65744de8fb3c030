import Foundation

/// A process, not its number: the number may be given to another one, the pair is unique until the machine reboots.
public struct ProcessIdentity: Sendable, Equatable, Hashable, Codable {
    public var pid: Int32
    /// Clock ticks after boot, `/proc/PID/stat` field 22.
    public var startTime: UInt64

    public init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }

    /// The process that has this number now; nil if there is none.
    public init?(pid: Int32) {
        guard let stat = ProcFile.stat("/proc/\(pid)/stat") else { return nil }
        self.init(pid: pid, startTime: stat.startTime)
    }

    /// It exists and has not ended. A zombie has ended.
    public var isRunning: Bool {
        guard let stat = ProcFile.stat("/proc/\(pid)/stat"), stat.startTime == startTime else { return false }
        return stat.state != "Z" && stat.state != "X"
    }

    /// It exists, perhaps as a zombie that nobody has reaped.
    public var exists: Bool { ProcFile.stat("/proc/\(pid)/stat")?.startTime == startTime }
}

/// CPU time of a process in seconds, since it started.
public struct ProcessTimes: Sendable, Equatable, Codable {
    /// Threads that run a guest.
    public var vcpu: Double
    /// All others, ended ones included.
    public var other: Double

    public init(vcpu: Double = 0, other: Double = 0) {
        self.vcpu = vcpu
        self.other = other
    }

    public var total: Double { vcpu + other }

    public static func + (left: ProcessTimes, right: ProcessTimes) -> ProcessTimes {
        ProcessTimes(vcpu: left.vcpu + right.vcpu, other: left.other + right.other)
    }

    public static func - (left: ProcessTimes, right: ProcessTimes) -> ProcessTimes {
        ProcessTimes(vcpu: left.vcpu - right.vcpu, other: left.other - right.other)
    }

    /// Reads a process's threads now. `nil`: there is no such process any more.
    ///
    /// Threads are counted in nanoseconds (`schedstat`). What ended threads used is in no thread's file but in the process's
    /// total, which counts in ticks of 10 ms; so only that part has the coarse resolution. A zombie has the total only: all
    /// of it is then in `other`.
    public init?(of process: ProcessIdentity, root: String = "/proc") {
        let folder = "\(root)/\(process.pid)"
        guard let whole = ProcFile.stat(folder + "/stat"), whole.startTime == process.startTime else { return nil }
        self.init()
        var liveTicks: UInt64 = 0
        for thread in (try? FileManager.default.contentsOfDirectory(atPath: folder + "/task")) ?? [] {
            guard let stat = ProcFile.stat("\(folder)/task/\(thread)/stat") else { continue }
            liveTicks += stat.cpuTicks
            let seconds = ProcFile.schedstat("\(folder)/task/\(thread)/schedstat") ?? Double(stat.cpuTicks) / ProcFile.ticksPerSecond
            // QEMU names its vCPU threads "CPU 0/TCG", "CPU 1/KVM".
            if stat.command.hasPrefix("CPU ") { vcpu += seconds } else { other += seconds }
        }
        if whole.cpuTicks > liveTicks { other += Double(whole.cpuTicks - liveTicks) / ProcFile.ticksPerSecond }
    }
}

/// Resident memory of a process in bytes.
public struct ProcessMemory: Sendable, Equatable {
    /// Its own: heap, stacks, code and mapped files.
    public var own: UInt64
    /// Shared memory: a guest's RAM.
    public var shared: UInt64

    public init(own: UInt64 = 0, shared: UInt64 = 0) {
        self.own = own
        self.shared = shared
    }

    public init?(of process: ProcessIdentity, root: String = "/proc") {
        guard let text = ProcFile.read("\(root)/\(process.pid)/status") else { return nil }
        self.init()
        for line in text.split(separator: "\n") {
            let words = line.split { $0 == " " || $0 == "\t" || $0 == ":" }
            guard words.count >= 2, let kibibytes = UInt64(words[1]) else { continue }
            switch words[0] {
            case "RssAnon", "RssFile": own += kibibytes * 1024
            case "RssShmem": shared += kibibytes * 1024
            default: break
            }
        }
    }
}
