import Foundation

/// What a signal that ends this program takes away first: its children and its ``Belongings``.
enum Interruption {
    /// Held while something is started or made, and for good by what takes everything away: that has either seen it, or it never is.
    private static let gate = NSRecursiveLock()
    /// Written to by the handler, which may do no more than that.
    // SAFETY: assigned once, in `prepare`, before the handler is in place and the thread that reads it runs; never after.
    nonisolated(unsafe) private static var pipe: [Int32] = [-1, -1]

    /// From here on a SIGINT, SIGTERM or SIGHUP removes everything. Not ignored nor blocked: children would inherit that.
    ///
    /// - Parameters:
    ///   - places: where directories are made.
    ///   - drover: the command that ends a supervisor.
    static func prepare(places: Set<String>, drover: String) {
        // SAFETY: pipe2 fills the two places that the array has.
        guard unsafe Glibc.pipe2(&pipe, O_CLOEXEC) == 0 else { return }
        // SAFETY, for all of the set's calls: it outlives them.
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            unsafe sigaddset(&signals, number)
            signal(number) { number in
                // SAFETY: write is async-signal-safe, and the byte outlives it.
                var byte = UInt8(truncatingIfNeeded: number)
                _ = unsafe write(Interruption.pipe[1], &byte, 1)
            }
        }
        // Whoever started this program may have blocked them.
        unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        Thread.detachNewThread {
            // SAFETY: the byte outlives the call.
            var byte: UInt8 = 0
            while unsafe read(pipe[0], &byte, 1) != 1 {}
            gate.lock()
            progress("interrupted: stopping what was started")
            killChildren()
            Belongings.mine.remove(in: places, drover: drover)
            progress(nil)
            _exit(128 + Int32(byte))
        }
    }

    /// Starts or makes something, unless everything is taken away: then it does not return.
    static func before<Result>(_ body: () throws -> Result) rethrows -> Result { try gate.withLock(body) }

    static func start(_ process: Process) throws { try before { try process.run() } }

    /// Does not return while everything is taken away.
    static func checkpoint() { before {} }

    private static func killChildren() {
        let children = Belongings.list("/proc/self/task").flatMap { task in
            ((try? String(contentsOfFile: "/proc/self/task/\(task)/children", encoding: .utf8)) ?? "").split(separator: " ").compactMap {
                pid_t($0)
            }
        }
        for child in children {
            // Who leads a group has started the rest of it.
            kill(getpgid(child) == child ? -child : child, SIGKILL)
        }
    }
}
