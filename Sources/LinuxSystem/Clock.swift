public import CLinux

/// Clocks, in nanoseconds.
public enum Clock {
    /// Time since boot without sleep (CLOCK_MONOTONIC): for deadlines and durations.
    @inlinable
    public static func monotonic() -> UInt64 { clinux_clock_nanoseconds(1) }

    /// Time since 1970 (CLOCK_REALTIME): to show to people.
    @inlinable
    public static func wall() -> UInt64 { clinux_clock_nanoseconds(0) }

    /// CPU time that this process has used (CLOCK_PROCESS_CPUTIME_ID).
    @inlinable
    public static func processCPU() -> UInt64 { clinux_clock_nanoseconds(2) }

    /// CPU time that this thread has used (CLOCK_THREAD_CPUTIME_ID).
    @inlinable
    public static func threadCPU() -> UInt64 { clinux_clock_nanoseconds(3) }

    /// Sleeps that long, whatever signals come.
    public static func sleep(nanoseconds: UInt64) { clinux_sleep_nanoseconds(nanoseconds) }

    /// Lets another program that is ready to run on this processor run first. For loops that poll: with more programs than
    /// processors, the one that is polled for may be waiting for just this processor.
    public static func yield() { _ = sched_yield() }

    /// Tells the CPU that this is a loop which polls memory.
    @inlinable
    public static func spinHint() { clinux_pause() }
}
