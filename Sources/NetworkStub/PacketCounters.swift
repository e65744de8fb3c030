/// Packets and bytes (without vnet headers) since a device was made.
public struct PacketCounters: Equatable, Sendable {
    public var toHostPackets: UInt64 = 0
    public var toHostBytes: UInt64 = 0
    public var toGuestPackets: UInt64 = 0
    public var toGuestBytes: UInt64 = 0
    public var dropped: UInt64 = 0

    public static func += (sum: inout PacketCounters, other: PacketCounters) {
        sum.toHostPackets += other.toHostPackets
        sum.toHostBytes += other.toHostBytes
        sum.toGuestPackets += other.toGuestPackets
        sum.toGuestBytes += other.toGuestBytes
        sum.dropped += other.dropped
    }
}
