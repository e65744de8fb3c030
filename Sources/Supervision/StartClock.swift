import ControlModel

/// Takes the times of a start as they come, and makes a ``ControlModel/StartTimeline`` of them.
///
/// Moments of the host are seconds of its monotonic clock. The guest's own come in its log, on a clock that begins with its kernel; the two
/// meet when the line arrives, which the guest sends as soon as it is connected.
struct StartClock: Sendable, Equatable {
    private let generation: UInt64
    private var begun: Double
    private var imageReady: Double?
    private var launched: Double?
    private var guest: Guest?
    private var heard: Double?

    init(generation: UInt64, now: Double) {
        self.generation = generation
        begun = now
    }

    mutating func imageReady(at now: Double) { imageReady = now }

    /// libvirt is asked for the VM now.
    mutating func launching(at now: Double) { launched = now }

    /// A line of the guest's log. Only the first that has the figures counts.
    mutating func heard(untrustedLine line: String, at now: Double) {
        guard heard == nil, launched != nil, let guest = Guest(untrustedLine: line) else { return }
        self.guest = guest
        heard = now
    }

    /// The session is ready: the whole, if all of it is known. Never with a negative step: a guest can say anything.
    func timeline(readyAt ready: Double) -> StartTimeline? {
        guard let imageReady, let launched, let guest, let heard else { return nil }
        let inside = heard - launched
        let connected = min(guest.connected, inside)
        let devices = min(guest.devices, connected)
        let modules = min(guest.modules, devices)
        let kernel = min(guest.began, modules)
        return StartTimeline(
            generation: generation, image: max(0, imageReady - begun), stub: max(0, launched - imageReady), vmm: max(0, inside - connected),
            kernel: kernel, initialization: modules - kernel, probe: devices - modules, connection: connected - devices,
            session: max(0, ready - heard))
    }

    /// What the server stub says of its boot, in seconds: `boot: init 512 ms, modules 530 ms, devices 640 ms, connected 650 ms`.
    struct Guest: Sendable, Equatable {
        var began: Double
        var modules: Double
        var devices: Double
        var connected: Double

        /// Nil for any other line.
        init?(untrustedLine line: String) {
            guard line.utf8.count < 200, line.hasPrefix("boot: ") else { return nil }
            var times: [Double] = []
            for (part, name) in zip(line.dropFirst("boot: ".count).split(separator: ","), ["init", "modules", "devices", "connected"]) {
                let words = part.split(separator: " ")
                guard words.count == 3, words[0] == name, words[2] == "ms", let milliseconds = UInt32(words[1]) else { return nil }
                times.append(Double(milliseconds) / 1000)
            }
            guard times.count == 4 else { return nil }
            (began, modules, devices, connected) = (times[0], times[1], times[2], times[3])
        }
    }
}
