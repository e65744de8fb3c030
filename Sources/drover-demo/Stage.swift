import ControlModel
import Foundation

/// What the visitor sees: lines with the seconds since the start.
struct Stage: Sendable {
    let start = ContinuousClock.now
    let color = isatty(STDOUT_FILENO) == 1

    func scene(_ title: String) {
        print("\n" + bold("── \(title) " + String(repeating: "─", count: max(4, 96 - title.count))))
        fflush(nil)
    }

    func line(_ text: String) {
        let seconds = start.duration(to: .now) / .seconds(1)
        print(String(format: "%7.2f s  ", seconds) + text)
        fflush(nil)
    }

    func show(_ text: String) {
        print(text)
        fflush(nil)
    }

    /// An event of the supervisor's, if it is worth a visitor's eye.
    func event(_ event: Event) {
        guard let name = event.ddos else { return }
        switch event.kind {
        case .injected: line(red("✗ \(name)  \(event.message)"))
        case .failed: line(red("✗ \(name)  \(event.message)"))
        case .fenced, .started: line("  \(name)  \(event.message)")
        case .recovered: line(green("✓ \(name)  \(event.message)"))
        case .quarantined, .warning: line(red("! \(name)  \(event.message)"))
        default: break
        }
    }

    func bold(_ text: String) -> String { paint(text, "1") }
    func red(_ text: String) -> String { paint(text, "31") }
    func green(_ text: String) -> String { paint(text, "32") }

    private func paint(_ text: String, _ code: String) -> String { color ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
}
