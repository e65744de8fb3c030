import CLinux
import Foundation

/// What `/proc/PID/stat` says of a process.
struct ProcessStatus: Equatable {
    var name: String
    /// "R", "S", "Z", …
    var state: String
    var parent: Int32
    var session: Int32

    init?(pid: Int32) {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        self.init(line: String(decoding: data, as: UTF8.self))
    }

    /// `PID (NAME) STATE PPID PGRP SESSION …`; the name may hold anything, parentheses too.
    init?(line: String) {
        guard let open = line.firstIndex(of: "("), let close = line.lastIndex(of: ")"), open < close else { return nil }
        let fields = line[line.index(after: close)...].split(separator: " ")
        guard fields.count > 3, let parent = Int32(fields[1]), let session = Int32(fields[3]) else { return nil }
        name = String(line[line.index(after: open)..<close])
        state = String(fields[0])
        self.parent = parent
        self.session = session
    }
}

extension MachineStatistics {
    /// Reads a VMM's figures. nil when the process is gone.
    init?(pid: Int32) {
        // The process's CPU clock counts threads that have ended too, in nanoseconds.
        var clock = clockid_t()
        var time = timespec()
        guard clock_getcpuclockid(pid, &clock) == 0, clock_gettime(clock, &time) == 0 else { return nil }
        let total = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        var resident: UInt64 = 0
        var shared: UInt64 = 0
        if let data = FileManager.default.contents(atPath: "/proc/\(pid)/status") {
            for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
                if line.hasPrefix("VmRSS:") { resident = Self.kibibytes(line) }
                if line.hasPrefix("RssShmem:") { shared = Self.kibibytes(line) }
            }
        }
        self.init(
            vcpuNanoseconds: Self.vcpuTime(pid: pid), totalNanoseconds: total, residentBytes: resident, guestResidentBytes: shared)
    }

    /// QEMU names its vCPU threads "CPU 0/TCG" or "CPU 0/KVM"; the first field of schedstat is nanoseconds on a processor.
    private static func vcpuTime(pid: Int32) -> UInt64 {
        let tasks = "/proc/\(pid)/task"
        var sum: UInt64 = 0
        for thread in (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? [] {
            guard let name = FileManager.default.contents(atPath: "\(tasks)/\(thread)/comm"), name.starts(with: "CPU ".utf8),
                let line = FileManager.default.contents(atPath: "\(tasks)/\(thread)/schedstat")
            else { continue }
            sum += String(decoding: line, as: UTF8.self).split(separator: " ").first.flatMap { UInt64($0) } ?? 0
        }
        return sum
    }

    private static func kibibytes(_ line: Substring) -> UInt64 {
        let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        return (fields.count > 1 ? UInt64(fields[1]) ?? 0 : 0) * 1024
    }
}
