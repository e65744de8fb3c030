import CLinux

/// How a child ended.
public enum ProcessEnd: Equatable, Sendable {
    case exited(status: Int32)
    case signalled(Int32)

    init(code: Int32, status: Int32) {
        // CLD_EXITED is 1; CLD_KILLED and CLD_DUMPED carry the signal.
        self = code == 1 ? .exited(status: status) : .signalled(status)
    }
}

/// Processes: this one's manners, and children by pidfd.
public enum ProcessControl {
    /// Orphans of this process's children become its children, instead of PID 1's (`PR_SET_CHILD_SUBREAPER`).
    public static func becomeChildSubreaper() throws(SystemError) {
        try retrying("prctl") { clinux_set_child_subreaper(1) }
    }

    /// Writing to a closed socket gives EPIPE instead of death.
    public static func ignoreBrokenPipes() { _ = clinux_ignore_signal(SIGPIPE) }

    /// Waits for one child that a pidfd names, and reaps it (`waitid(P_PIDFD)`).
    ///
    /// nil: it still runs (only if not `blocking`). `ECHILD`: not a child of this process, or reaped already.
    public static func reap(_ pidfd: borrowing OwnedDescriptor, blocking: Bool) throws(SystemError) -> ProcessEnd? {
        var code: Int32 = 0
        var status: Int32 = 0
        let descriptor = pidfd.rawValue
        // SAFETY: both integers outlive the call.
        let result = try retrying("waitid") {
            unsafe clinux_waitid_pidfd(descriptor, blocking ? 0 : WNOHANG, &code, &status)
        }
        return result == 0 ? nil : ProcessEnd(code: code, status: status)
    }

    /// Reaps any child that has ended: its pid and how. For PID 1 only: elsewhere it would steal somebody's child.
    public static func reapAny() throws(SystemError) -> (process: Int32, end: ProcessEnd)? {
        var code: Int32 = 0
        var status: Int32 = 0
        // SAFETY: both integers outlive the call.
        let result = unsafe clinux_waitid_pid(0, WNOHANG, &code, &status)
        if result < 0 {
            let failure = clinux_errno()
            if failure == ECHILD || failure == EINTR { return nil }
            throw SystemError(code: failure, call: "waitid")
        }
        return result == 0 ? nil : (result, ProcessEnd(code: code, status: status))
    }

    /// Whether some child has ended and is not reaped yet. Reaps nothing.
    public static var hasEndedChild: Bool {
        var code: Int32 = 0
        var status: Int32 = 0
        // SAFETY: both integers outlive the call.
        return unsafe clinux_waitid_pid(0, WNOHANG | WNOWAIT, &code, &status) > 0
    }

    /// Sends a signal to exactly the process that a pidfd names. `ESRCH`: it is gone.
    public static func signal(_ pidfd: borrowing OwnedDescriptor, _ signal: Int32) throws(SystemError) {
        let descriptor = pidfd.rawValue
        try retrying("pidfd_send_signal") { clinux_pidfd_send_signal(descriptor, signal) }
    }

    /// A descriptor of this process's own for what another process has open as `number` (`pidfd_getfd`). `EPERM`: it takes what ptrace(2) takes.
    public static func duplicate(_ number: Int32, of pidfd: borrowing OwnedDescriptor) throws(SystemError) -> OwnedDescriptor {
        let descriptor = pidfd.rawValue
        return OwnedDescriptor(adopting: try retrying("pidfd_getfd") { clinux_pidfd_getfd(descriptor, number) })
    }

    /// This process's id.
    public static var identifier: Int32 { getpid() }
}
