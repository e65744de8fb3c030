import ArgumentParser
import Foundation
import Hypervisor

struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a DD/OS's console.",
        discussion: """
            What the guest's kernel and server stub wrote, over all its lives. Works when droverd is down too. On a terminal control \
            characters are left out.
            """)

    @OptionGroup var target: NameArgument
    @OptionGroup var supervisor: SupervisorOptions
    @Flag(name: .shortAndLong, help: "Go on printing what is written.") var follow = false
    @Flag(name: .long, help: "The client stub's log instead of the console.") var stub = false
    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("The last lines only.", valueName: "count")) var lines: Int?

    func run() async throws {
        let folder = "\(supervisor.runDir)/ddos/\(target.name)"
        let path = "\(folder)/\(stub ? "stub" : "console").log"
        guard let file = FileHandle(forReadingAtPath: path) else {
            let known = ((try? FileManager.default.contentsOfDirectory(atPath: supervisor.runDir + "/ddos")) ?? []).sorted()
            guard known.contains(target.name) else {
                throw Complaint(
                    "No DD/OS is named '\(target.name)'; there \(known.isEmpty ? "is none" : "are: " + known.joined(separator: ", ")).",
                    status: 4)
            }
            throw Complaint("\(target.name) has no \(stub ? "stub log" : "console") yet: it has not been started.", status: 5)
        }
        var data = try file.readToEnd() ?? Data()
        if let lines { data = ConsoleLog.lastLines(lines, of: data) }
        // A guest must not drive the terminal; into a file or a program goes what it wrote.
        var filter = isatty(STDOUT_FILENO) == 1 ? ConsoleLog.TerminalFilter() : nil
        func show(_ data: Data) { FileHandle.standardOutput.write(filter?.take(data) ?? data) }
        show(data)
        while follow {
            try await Task.sleep(for: .milliseconds(200))
            // droverd cuts a log that has grown too long.
            let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? UInt64 ?? 0
            if try file.offset() > size { try file.seekToEnd() }
            if let more = try file.readToEnd(), !more.isEmpty { show(more) }
        }
    }
}
