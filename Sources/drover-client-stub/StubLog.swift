import CLinux
import LinuxSystem
import StubControl

/// The stub's log: lines on stderr, which the supervisor has opened as a file. Events only, never anything per request.
enum StubLog {
    /// One line, with the seconds since 1970.
    static func write(_ text: String) {
        let now = Clock.wall() / 1_000_000
        let fraction = String(1000 + now % 1000).dropFirst()
        let line = "\(now / 1000).\(fraction) \(text)\n"
        _ = line.withCString { CLinux.write(2, $0, strlen($0)) }
    }

    static func write(_ event: StubEvent) {
        switch event {
        case .sessionReady(let generation, let disks, let replayed):
            write("session \(generation) is ready: \(disks.map(\.name).joined(separator: ", ")); \(replayed) requests sent again")
        case .sessionLost(let generation, let cause, let reason):
            write("session \(generation) is lost (\(cause.rawValue)): \(reason)")
        case .guestLog(let text):
            write("guest: \(text)")
        }
    }
}
