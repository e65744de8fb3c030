import CLinux
import Foundation
import LinuxSystem

/// The processor's time-stamp counter, which a guest under QEMU's translator reads as it is.
///
/// A guest's kernel finds out its frequency by spinning, for tens of milliseconds and again when another process had the processor meanwhile; and it
/// compares the counter with another clock twice a second for as long as it runs. Where the host's own kernel trusts the counter, the guest is told
/// both: `tsc_early_khz` and `tsc=reliable` (Documentation/admin-guide/kernel-parameters.txt).
public enum HostClock {
    /// Words for the command line of a guest's kernel; none where the host itself does not keep time with the counter.
    public static let kernelParameters: [String] = {
        let files = FileManager.default
        let source = files.contents(atPath: "/sys/devices/system/clocksource/clocksource0/current_clocksource") ?? Data()
        let flags = files.contents(atPath: "/proc/cpuinfo") ?? Data()
        return parameters(
            clockSource: String(decoding: source, as: UTF8.self), cpuinfo: String(decoding: flags, as: UTF8.self), kilohertz: measure)
    }()

    static func parameters(clockSource: String, cpuinfo: String, kilohertz: () -> UInt64) -> [String] {
        let flags = cpuinfo.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
        guard clockSource.trimmingCharacters(in: .whitespacesAndNewlines) == "tsc", flags.contains("constant_tsc"),
            flags.contains("nonstop_tsc")
        else { return [] }
        let frequency = kilohertz()
        return ["tsc=reliable"] + (frequency > 0 ? ["tsc_early_khz=\(frequency)"] : [])
    }

    /// The best of some tries: who loses the processor between the two readings measures too long, on either side.
    private static func measure() -> UInt64 {
        var frequencies: [UInt64] = []
        for _ in 0..<5 {
            let (first, start) = (clinux_timestamp_counter(), Clock.monotonic())
            Clock.sleep(nanoseconds: 4_000_000)
            let (last, end) = (clinux_timestamp_counter(), Clock.monotonic())
            guard end > start, last > first else { continue }
            frequencies.append((last - first) * 1_000_000 / (end - start))
        }
        frequencies.sort()
        return frequencies.isEmpty ? 0 : frequencies[frequencies.count / 2]
    }
}
