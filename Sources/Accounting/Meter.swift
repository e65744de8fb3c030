/// Adds up the CPU time of one role, a VMM or a stub, whose process is replaced from time to time.
public struct Meter: Sendable, Equatable, Codable {
    /// What ended processes used.
    public private(set) var past = ProcessTimes()
    public private(set) var process: ProcessIdentity?
    /// The latest reading of `process`.
    private var last = ProcessTimes()

    public init() {}

    /// A new process takes the role. What the one before used stays counted.
    public mutating func begin(_ process: ProcessIdentity) {
        if self.process == process { return }
        end()
        self.process = process
    }

    /// Reads the process. Keeps the latest reading if it is gone.
    public mutating func sample() {
        guard let process, let times = ProcessTimes(of: process) else { return }
        take(times)
    }

    /// A zombie's threads are gone: the whole time is known, its parts are not. What was added since the latest reading is
    /// taken to be the guest's, in the proportion seen so far.
    mutating func take(_ times: ProcessTimes) {
        guard times.vcpu < last.vcpu else { return last = times }
        let added = max(0, times.total - last.total)
        let share = last.total > 0 ? last.vcpu / last.total : 0
        last = ProcessTimes(vcpu: last.vcpu + added * share, other: last.other + added * (1 - share))
    }

    /// Call while the process can still be read, as a zombie at least.
    public mutating func end() {
        sample()
        past = past + last
        last = ProcessTimes()
        process = nil
    }

    /// Of all processes so far, as of the latest reading.
    public var total: ProcessTimes { past + last }
}
