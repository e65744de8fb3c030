import Foundation
import Hypervisor

/// Numbers as people read them.
enum Figures {
    /// `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
    static func duration(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded())
        return switch seconds {
        case ..<0.001: "\((seconds * 1_000_000).formatted(.number.precision(.fractionLength(0)))) µs"
        case ..<1: "\((seconds * 1000).formatted(.number.precision(.fractionLength(0)))) ms"
        case ..<60: "\(fixed(seconds, 1)) s"
        case ..<3600: "\(whole / 60) min \(whole % 60) s"
        case ..<86400: "\(whole / 3600) h \(whole % 3600 / 60) min"
        default: "\(whole / 86400) d \(whole % 86400 / 3600) h"
        }
    }

    /// `1 GiB`, `75.3 MiB`.
    static func bytes(_ count: UInt64) -> String { ByteCount.text(count) }

    /// A share of 1 as `0.23 %`.
    static func percent(_ share: Double) -> String { fixed(share * 100, 2) + " %" }

    static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

    /// Local time of day, to the millisecond.
    static func time(_ date: Date) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = "HH:mm:ss.SSS"
        return formatter.string(from: date)
    }
}
