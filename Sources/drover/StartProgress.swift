import ControlAPI
import ControlModel
import Foundation

/// Shows DD/OSs on their way to ready: a line for each change of phase.
struct StartProgress {
    let client: ControlClient

    /// Returns when every named DD/OS is ready in a life after `after`; throws when one stops or is quarantined.
    func untilReady(_ names: Set<String>, after: UInt64 = 0, deadline: Duration = .seconds(900)) async throws {
        let end = ContinuousClock.now + deadline
        let start = ContinuousClock.now
        var shown: [String: String] = [:]
        while true {
            let list = try await client.list().filter { names.contains($0.name) }
            for ddos in list {
                let text = ddos.status.isEmpty ? ddos.phase.rawValue : "\(ddos.phase.rawValue): \(ddos.status)"
                if shown.updateValue(text, forKey: ddos.name) != text {
                    let elapsed = start.duration(to: .now) / .seconds(1)
                    print("  \(Figures.fixed(elapsed, 1).leftPadded(to: 6)) s  \(ddos.name)  \(text)")
                    fflush(nil)
                }
                if ddos.phase == .quarantined || (ddos.phase == .stopped && ddos.generation > after) {
                    throw Complaint(
                        "\(ddos.name) did not start: \(ddos.status); see 'drover logs \(ddos.name)' and 'drover inspect \(ddos.name)'.")
                }
            }
            if list.allSatisfy({ $0.phase == .ready && $0.generation > after }) { return }
            guard ContinuousClock.now < end else {
                let late = list.filter { $0.phase != .ready }.map(\.name).joined(separator: ", ")
                throw Complaint("\(late) not ready after \(deadline); see 'drover events'.", status: 6)
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}

extension String {
    func leftPadded(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
