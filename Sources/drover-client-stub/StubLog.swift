import CLinux
import LinuxSystem
import StubControl
import Synchronization

/// How much a line matters; the words are droverd's.
enum LogLevel: Int, CaseIterable {
    case trace, debug, info, notice, warning, error, critical

    init?(name: String) {
        guard let level = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
        self = level
    }
}

/// The stub's log: lines on stderr, which the supervisor has opened as a file. Events only, never anything per request.
enum StubLog {
    /// Lines that matter less are left out.
    private static let threshold = Atomic(LogLevel.info.rawValue)

    static func show(from level: LogLevel) { threshold.store(level.rawValue, ordering: .relaxed) }

    /// One line, with the seconds since 1970.
    static func write(_ text: String, _ level: LogLevel = .info) {
        guard level.rawValue >= threshold.load(ordering: .relaxed) else { return }
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
            write("session \(generation) is lost (\(cause.rawValue)): \(reason)", .warning)
        case .interfaceReady(let generation, let interface):
            write("session \(generation) is ready: \(interface.driver), \(interface.mac), MTU \(interface.mtu)")
        case .interfaceChanged(let interface):
            write("the interface changed: carrier \(interface.hasCarrier ? "on" : "off"), MTU \(interface.mtu)")
        case .guestLog(let text):
            write("guest: \(text)")
        }
    }
}
