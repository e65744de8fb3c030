public import Foundation

/// A point in time on both clocks: the machine's decisions use the monotonic one, people read the other.
public struct Moment: Sendable, Equatable, Codable {
    /// Seconds of CLOCK_MONOTONIC: the same for every process until the machine reboots, so it may be kept in files.
    public var monotonic: Double
    public var wall: Date

    public init(monotonic: Double, wall: Date) {
        self.monotonic = monotonic
        self.wall = wall
    }

    public func adding(_ seconds: Double) -> Moment {
        Moment(monotonic: monotonic + seconds, wall: wall.addingTimeInterval(seconds))
    }
}
