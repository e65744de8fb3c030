import CLinux

/// An eventfd: a doorbell within one machine. Non-blocking.
public struct EventCounter: ~Copyable, Sendable {
    /// To poll (readable after `signal`), to pass to another process, to hand to vhost-user.
    public let descriptor: OwnedDescriptor

    public init() throws(SystemError) {
        descriptor = OwnedDescriptor(
            adopting: try retrying("eventfd") { eventfd(0, Int32(2048 | 524288)) })  // EFD_NONBLOCK | EFD_CLOEXEC, which are an enum
    }

    /// One that was received from somebody.
    public init(adopting descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }

    /// Rings. A full counter (2⁶⁴ − 2 rings) is ringing already.
    public borrowing func signal() {
        EventCounter.signal(descriptor.rawValue)
    }

    /// Rings a counter that somebody else owns.
    public static func signal(_ descriptor: Int32) {
        var one: UInt64 = 1
        // SAFETY: eight bytes from eight bytes.
        _ = unsafe write(descriptor, &one, 8)
    }

    /// How often it rang since last time; 0 when it did not.
    @discardableResult
    public borrowing func drain() -> UInt64 {
        var count: UInt64 = 0
        // SAFETY: eight bytes into eight bytes.
        return unsafe read(descriptor.rawValue, &count, 8) == 8 ? count : 0
    }
}
