import ControlAPI
import ControlModel
import Foundation

/// Shows DD/OSs on their way to ready: a line for each change of phase.
struct StartProgress {
    let client: ControlClient

    /// Returns when every named DD/OS is ready in a life after `after`. When some stop or are quarantined instead, the others are waited for all
    /// the same; then it throws, and names each.
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
            }
            let failed = list.filter { $0.phase == .quarantined || ($0.phase == .stopped && $0.generation > after) }
            let ready = list.filter { $0.phase == .ready && $0.generation > after }
            if ready.count == list.count { return }
            if ready.count + failed.count == list.count { throw await complaint(failed, of: list) }
            guard ContinuousClock.now < end else {
                let late = list.filter { one in !ready.contains(one) }.map(\.name).joined(separator: ", ")
                throw Complaint("\(late) not ready after \(deadline); see 'drover events'.", status: 6)
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Each with its reason, and with its console where it has printed anything.
    private func complaint(_ failed: [DDOSSummary], of all: [DDOSSummary]) async -> Complaint {
        var lines: [String] = []
        for ddos in failed {
            var line = "\(ddos.name): \(ddos.status.isEmpty ? ddos.phase.rawValue : ddos.status)"
            if let detail = try? await client.inspect(ddos.name), !detail.lastConsoleLines.isEmpty {
                line += "; see 'drover logs \(ddos.name)'"
            }
            lines.append(line)
        }
        let more = "'drover inspect NAME' shows more, and 'drover start NAME' tries again"
        if all.count == 1 { return Complaint("\(failed[0].name) did not start: \(failed[0].status); \(more).") }
        return Complaint("\(failed.count) of \(all.count) DD/OSs did not start; \(more).\n  " + lines.joined(separator: "\n  "))
    }
}

extension String {
    func leftPadded(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
