/// How long packets may wait in the TAP's queue for a DD/OS whose NIC has a link.
///
/// What is sent while a driver starts anew is kept by the kernel, up to the interface's `txqueuelen`, and delivered when the NIC has its
/// link: so the first retransmission of a connection ends its silence, and not one that comes seconds later. But a DD/OS can be down for
/// hours, and nobody wants then what was asked hours ago. Packets in the queue have no age, and the oldest keep new ones out; so all of
/// them are thrown away every ten seconds, and none that is delivered is older than that. Most restarts take less, and lose nothing.
struct WaitingPackets {
    static let mostAge: UInt64 = 10_000_000_000
    /// When what waits then is too old. Nanoseconds of the loop's clock; `.max`: nothing waits.
    private(set) var deadline = UInt64.max

    /// To be asked again and again. True: whatever waits is to be thrown away now.
    mutating func areStale(areTaken: Bool, now: UInt64) -> Bool {
        guard !areTaken else {
            deadline = .max
            return false
        }
        let isTime = now >= deadline
        if isTime || deadline == .max { deadline = now &+ Self.mostAge }
        return isTime
    }
}
