import ControlAPI
import ControlModel
import Foundation
import Synchronization

/// A supervisor with its DD/OSs in folders of their own, and everything a test starts beside them. See ``withRig(_:_:body:)``.
final class Rig: Sendable {
    let programs: Programs
    let runDirectory: String
    let dataDirectory: String
    let configurationFile: String
    let client: ControlClient
    let events: EventFeed
    private let commands = Mutex<[RunningCommand]>([])

    init(_ plans: [Plan]) async throws {
        programs = try Programs()
        var template = Array("/run/drover-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failure("cannot make a folder in /run: \(String(cString: strerror(errno)))") }
        runDirectory = String(cString: made)
        dataDirectory = "/var/tmp/" + (runDirectory as NSString).lastPathComponent
        try FileManager.default.createDirectory(atPath: dataDirectory, withIntermediateDirectories: true)
        configurationFile = dataDirectory + "/drover.yaml"
        client = ControlClient(socketPath: runDirectory + "/drover.sock")
        events = EventFeed(socketPath: runDirectory + "/drover.sock")
        try write(plans)
        await events.start()
    }

    func write(_ plans: [Plan]) throws {
        let text = "ddos:\n" + plans.map { $0.yaml(folder: dataDirectory) }.joined()
        try text.write(toFile: configurationFile, atomically: true, encoding: .utf8)
    }

    // MARK: programs

    /// Starts a program that is ended with the rig, if it has not ended by then.
    func start(_ path: String, _ arguments: [String], takesInput: Bool = false) throws -> RunningCommand {
        let command = try RunningCommand(path, arguments, in: dataDirectory, takesInput: takesInput)
        commands.withLock { $0.append(command) }
        return command
    }

    var runningCommands: [RunningCommand] { commands.withLock { $0.reversed() } }

    /// Runs `drover` with these arguments on this rig's run directory.
    func drover(_ arguments: String..., within limit: Duration = .seconds(120)) async throws -> RunningCommand.Output {
        try await start(programs.drover, arguments + ["--run-dir", runDirectory]).finish(within: limit)
    }

    /// As ``drover(_:within:)``; an exit status other than 0 is a failure.
    @discardableResult
    func succeed(_ arguments: String..., within limit: Duration = .seconds(120)) async throws -> String {
        let output = try await start(programs.drover, arguments + ["--run-dir", runDirectory]).finish(within: limit)
        guard output.status == 0 else {
            throw Failure("'drover \(arguments.joined(separator: " "))' ended with \(output.status): \(output.error)")
        }
        return output.out
    }

    /// `drover up`: every DD/OS is ready. The first may have to fetch and unpack a kernel.
    func up() async throws {
        let start = ContinuousClock.now
        try await succeed("up", "-f", configurationFile, within: .seconds(900))
        say("up after \(text(seconds: start.duration(to: .now) / .seconds(1)))")
    }

    func summary(_ name: String) async throws -> DDOSSummary { try await client.inspect(name).summary }

    func untilReady(_ name: String, within limit: Duration) async throws {
        _ = try await eventually("\(name) is ready", within: limit) {
            let summary = try await summary(name)
            if summary.phase == .quarantined { throw Failure("\(name) \(summary.status)") }
            return summary.phase == .ready ? true : nil
        }
    }

    /// The NBD address of a DD/OS's first disk.
    func uri(_ name: String) async throws -> String {
        guard let uri = try await summary(name).frontEnds.flatMap(\.uris).first else { throw Failure("\(name) has no NBD address") }
        return uri
    }

    // MARK: faults

    /// `drover inject`, then the recovery, with its order checked: fenced, with the old VMM gone and reaped, before the next life.
    func crash(_ name: String, _ fault: InjectedFault, within limit: Duration = .seconds(120)) async throws -> Recovery {
        let before = await events.last
        guard let pid = try await summary(name).vmmPID else { throw Failure("\(name) has no VMM to break") }
        await events.watch(name, pid: pid)
        try await succeed("inject", name, fault.rawValue)
        let recovered = try await events.wait(.recovered, of: name, after: before, within: limit)
        let kinds = await events.of(name, after: before).filter { $0.sequence <= recovered.sequence }.map(\.kind)
        let order = kinds.filter { [.injected, .failed, .fenced, .started, .recovered].contains($0) }
        guard order == [.injected, .failed, .fenced, .started, .recovered] else {
            let story = await events.of(name, after: before).filter { $0.kind != .guestLog }.map { "\($0.kind.rawValue): \($0.message)" }
            throw Failure("\(name): a recovery from \(fault.rawValue) in another order: \(story.joined(separator: "; "))")
        }
        guard let recovery = recovered.recovery else { throw Failure("\(name): event 'recovered' has no figures") }
        // droverd says when the old VMM was gone and reaped, the client stub, by the same clock, when it sent requests again.
        let fenced = try await events.wait(.fenced, of: name, after: before, within: .seconds(1))
        let replayed = try replayTime(of: name, generation: recovered.generation ?? recovery.generation + 1)
        guard fenced.time.timeIntervalSince1970 <= replayed else {
            throw Failure(
                "\(name): requests were sent again \(text(seconds: fenced.time.timeIntervalSince1970 - replayed)) before the fence")
        }
        return recovery
    }

    /// When the session of this life began, and with it the replay: seconds since 1970, by the client stub's own log.
    private func replayTime(of name: String, generation: UInt64) throws -> Double {
        let log = try String(contentsOfFile: "\(runDirectory)/ddos/\(name)/stub.log", encoding: .utf8)
        guard let line = log.split(separator: "\n").last(where: { $0.contains("session \(generation) is ready") }),
            let time = line.split(separator: " ").first.flatMap({ Double($0) })
        else { throw Failure("the client stub of \(name) does not log the session of life \(generation): \(log.suffix(600))") }
        return time
    }
}
