import Foundation
import Synchronization

/// What a signal that ends this program takes away first: its children, its supervisors with their DD/OSs, its directories, and the interfaces and
/// network namespaces that have its process number in their names.
enum Interruption {
    /// Work directories, each with the `drover` that a supervisor in it listens to.
    private static let directories = Mutex<[String: String?]>([:])
    private static let isUnderWay = Atomic(false)
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
            isUnderWay.store(true, ordering: .sequentiallyConsistent)
            progress("interrupted: stopping what was started")
            removeEverything()
            progress(nil)
            _exit(128 + Int32(byte))
        }
    }

    /// Before anything is started: nothing is any more while the rest is taken away.
    static func checkpoint() {
        while isUnderWay.load(ordering: .sequentiallyConsistent) { sleep(1) }
    }

    static func add(directory: String, drover: String? = nil) { directories.withLock { $0[directory] = .some(drover) } }

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
        for (directory, drover) in directories.withLock({ $0 }) {
            if let drover { run(drover, ["down", "--run-dir", directory + "/run"]) }
            try? FileManager.default.removeItem(atPath: directory)
        }
        let (own, tag) = ("drover-bench-\(getpid())", "w\(getpid())")
        for name in list("/run/netns") where name == own || name.hasPrefix(own + "-") { run("/usr/sbin/ip", ["netns", "del", name]) }
        for name in list("/sys/class/net") where name.hasPrefix(tag) && name.count == tag.count + 1 {
            run("/usr/sbin/ip", ["link", "del", name])
        }
    }

    private static func list(_ directory: String) -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] }

    private static func run(_ program: String, _ arguments: [String]) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["-k", "5", "60", program] + arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        if (try? process.run()) != nil { process.waitUntilExit() }
    }
}
