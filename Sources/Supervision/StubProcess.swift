import Accounting
import Foundation
import Glibc
import LinuxSystem

/// A client stub's process: started so that it outlives `droverd`, ended for certain.
enum StubProcess {
    /// Runs the program in a session of its own, with nothing of ours open, standard error and output appended to `log`.
    static func spawn(_ program: String, _ arguments: [String], log: String) throws(SupervisionError) -> ProcessIdentity {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // droverd blocks and ignores signals; its children must not inherit that.
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)

        var argv = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, program, &actions, &attributes, &argv, environ)
        guard code == 0 else { throw .spawnFailed(program: program, errno: code) }
        // Unreaped, the child keeps its number: this cannot name another process, and can only fail without /proc.
        return ProcessIdentity(pid: pid) ?? ProcessIdentity(pid: pid, startTime: 0)
    }

    /// Waits until the process is gone, reaping it if it is our child. False: it still runs after `seconds`.
    static func waitUntilGone(_ process: ProcessIdentity, seconds: Double) async -> Bool {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        while true {
            // Not a child of ours (adopted): ECHILD, and its own parent reaps it.
            waitpid(process.pid, nil, WNOHANG)
            if !process.isRunning { return true }
            if clock.now >= end { return false }
            try? await Task.sleep(for: .milliseconds(10))
            if Task.isCancelled { await Task.yield() }
        }
    }

    /// SIGKILL, and wait. Nothing happens if the process is gone already.
    static func kill(_ process: ProcessIdentity) async {
        if process.isRunning { Glibc.kill(process.pid, SIGKILL) }
        _ = await waitUntilGone(process, seconds: 5)
    }

    /// Whether anybody listens on this Unix socket.
    static func isServed(_ path: String) -> Bool {
        do {
            _ = try UnixSocket.connect(path: path)
            return true
        } catch {
            return false
        }
    }

    /// The last line that says something, for an error message.
    static func lastWords(_ log: String, after offset: Int) -> String {
        guard let data = FileManager.default.contents(atPath: log), data.count > offset else { return "" }
        let lines = String(decoding: data.dropFirst(offset).suffix(4096), as: UTF8.self).split(separator: "\n")
        return lines.last { !$0.allSatisfy(\.isWhitespace) }.map { String($0.prefix(400)) } ?? ""
    }
}
