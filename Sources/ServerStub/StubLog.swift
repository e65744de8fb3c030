public import LinuxSystem

/// Lines for a person: "drover 1.234: text", seconds since boot in front, on the console or on standard error.
///
/// The lines are kept as well, so that they can be sent to the client stub once there is a connection.
public struct StubLog: ~Copyable {
    private let start: UInt64
    private let output: OwnedDescriptor
    /// Lines that were not yet taken for sending; the oldest go first when there are too many.
    private var unsent: [String] = []
    private static let mostUnsent = 64

    /// - Parameter sinceBoot: times count from the machine's boot rather than from now.
    public init(output: consuming OwnedDescriptor, sinceBoot: Bool) {
        self.output = output
        start = sinceBoot ? 0 : Clock.monotonic()
    }

    /// Writes a line. Never fails: a console that is gone is no reason to stop serving.
    public mutating func line(_ text: String) {
        let milliseconds = Int((Clock.monotonic() &- start) / 1_000_000)
        let fraction = decimal(1000 + milliseconds % 1000).utf8.dropFirst()
        let stamp = decimal(milliseconds / 1000) + "." + String(decoding: Array(fraction), as: UTF8.self)
        do throws(SystemError) {
            try output.writeAll(Array(("drover " + stamp + ": " + text + "\n").utf8))
        } catch {}
        if unsent.count == Self.mostUnsent { unsent.removeFirst() }
        unsent.append(text)
    }

    /// The oldest line that was not sent yet.
    mutating func takeUnsent() -> String? { unsent.isEmpty ? nil : unsent.removeFirst() }
}
