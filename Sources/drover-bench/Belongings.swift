import Foundation

/// What a run of this program has besides its children: directories, network namespaces and interfaces, all with the number of its process in their
/// names. So the next run can take away what one that was killed has left.
struct Belongings {
    let process: pid_t

    static let mine = Belongings(process: getpid())

    private static let word = "drover-bench-"
    /// Directories are called so, with random letters behind it.
    var directoryPrefix: String { "\(Self.word)\(process)-" }
    /// And namespaces, if one is enough; with more of a name behind it if not.
    var namespace: String { "\(Self.word)\(process)" }
    var linkPrefix: String { "w\(process)-" }

    /// Where directories are made, besides those that a person names.
    static let places: Set<String> = ["/tmp", "/dev/shm"]

    /// Those of runs that no longer are.
    static func ofTheDead(in places: Set<String>) -> [Belongings] {
        let names = (places + ["/run/netns"]).flatMap(list)
        let numbers = Set(
            names.filter { $0.hasPrefix(word) }.compactMap { $0.dropFirst(word.count).split(separator: "-").first.flatMap { pid_t($0) } })
        return numbers.filter { !isRunning($0) }.sorted().map(Belongings.init)
    }

    /// A number alone may be somebody else's by now.
    private static func isRunning(_ process: pid_t) -> Bool {
        guard let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe") else { return false }
        return program.split(separator: "/").last.map { $0.hasPrefix("drover-bench") } ?? false
    }

    /// Ends the supervisors with their DD/OSs and what else runs for it, and removes everything.
    ///
    /// - Parameter drover: the command.
    func remove(in places: Set<String>, drover: String) {
        for place in places {
            for directory in Self.list(place).filter({ $0.hasPrefix(directoryPrefix) }).map({ "\(place)/\($0)" }) {
                if FileManager.default.fileExists(atPath: directory + "/run") { run([drover, "down", "--run-dir", directory + "/run"]) }
                for process in Self.processes(naming: directory) { kill(process, SIGKILL) }
                try? FileManager.default.removeItem(atPath: directory)
            }
        }
        for name in Self.list("/run/netns") where name == namespace || name.hasPrefix(namespace + "-") {
            for process in (try? Tool.run("ip", "netns", "pids", name))?.split(whereSeparator: \.isWhitespace) ?? [] {
                if let process = pid_t(process) { kill(process, SIGKILL) }
            }
            run(["ip", "netns", "del", name])
        }
        for name in Self.list("/sys/class/net") where name.hasPrefix(linkPrefix) { run(["ip", "link", "del", name]) }
    }

    private static func processes(naming directory: String) -> [pid_t] {
        list("/proc").compactMap { pid_t($0) }.filter { process in
            process != getpid()
                && FileManager.default.contents(atPath: "/proc/\(process)/cmdline")?.firstRange(of: Data((directory + "/").utf8)) != nil
        }
    }

    static func list(_ directory: String) -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] }

    private func run(_ command: [String]) { _ = try? SupervisedMachines.run(command, seconds: 60, isQuiet: true) }
}
