import Foundation
import Synchronization

/// What a signal that ends this program takes away first: its children, its supervisors with their DD/OSs, its directories, and the interfaces and
/// network namespaces that have its process number in their names.
enum Interruption {
    /// What the names of this process's network namespaces begin with, and those of its interfaces.
    static let namespacePrefix = "drover-bench-\(getpid())"
    static let linkPrefix = "w\(getpid())-"

    /// Work directories, each with a command to run before it is removed; empty: none.
    private static let directories = Mutex<[String: [String]]>([:])
    /// Held while something is started, and for good by what takes everything away: what is started has either been seen by it, or never is.
    private static let starting = NSRecursiveLock()
    /// Written to by the handler, which may do no more than that.
    // SAFETY: assigned once, in `prepare`, before the handler is in place and the thread that reads it runs; never after.
    nonisolated(unsafe) private static var pipe: [Int32] = [-1, -1]

    /// From here on a SIGINT, SIGTERM or SIGHUP removes everything. Not ignored nor blocked: children would inherit that.
    static func prepare() {
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
            starting.lock()
            progress("interrupted: stopping what was started")
            removeEverything()
            progress(nil)
            _exit(128 + Int32(byte))
        }
    }

    /// Starts a program, unless everything is taken away: then it does not return.
    static func start(_ process: Process) throws { try starting.withLock { try process.run() } }

    /// Does not return while everything is taken away.
    static func checkpoint() { starting.withLock {} }

    static func add(directory: String, before command: [String] = []) { directories.withLock { $0[directory] = command } }

    static func forget(directory: String) { _ = directories.withLock { $0.removeValue(forKey: directory) } }

    private static func removeEverything() {
        let children = list("/proc/self/task").flatMap { task in
            ((try? String(contentsOfFile: "/proc/self/task/\(task)/children", encoding: .utf8)) ?? "").split(separator: " ").compactMap {
                pid_t($0)
            }
        }
        for child in children {
            // Who leads a group has started the rest of it.
            kill(getpgid(child) == child ? -child : child, SIGKILL)
        }
        for (directory, command) in directories.withLock({ $0 }) {
            if !command.isEmpty { run(command) }
            try? FileManager.default.removeItem(atPath: directory)
        }
        for name in list("/run/netns") where name == namespacePrefix || name.hasPrefix(namespacePrefix + "-") {
            run(["ip", "netns", "del", name])
        }
        for name in list("/sys/class/net") where name.hasPrefix(linkPrefix) { run(["ip", "link", "del", name]) }
    }

    private static func list(_ directory: String) -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] }

    private static func run(_ command: [String]) { _ = try? SupervisedMachines.run(command, seconds: 60, isQuiet: true) }
}
