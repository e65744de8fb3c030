import ControlAPI
import ControlModel
import Foundation
import Glibc
import Testing

/// Gives `body` a rig, and takes it down in reverse order whatever happens, a time limit included: workloads, DD/OSs and supervisor,
/// processes that are left, folders. What a successful test leaves behind is a failure.
func withRig(_ title: String, _ plans: [Plan], body: (Rig) async throws -> Void) async throws {
    let start = ContinuousClock.now
    say("── \(title)")
    let rig = try await Rig(plans)
    let result: Result<Void, any Error>
    do {
        result = .success(try await body(rig))
    } catch {
        await rig.explain(error)
        result = .failure(error)
    }
    // In a task of its own: a test that ran out of time is cancelled, its cleaning up is not.
    let left = await Task { await rig.cleanUp() }.value
    let complaints = await rig.events.complaints
    say("── \(title): \((try? result.get()) == nil ? "FAILED" : "done"), \(text(seconds: start.duration(to: .now) / .seconds(1)))")
    try result.get()
    #expect(complaints.isEmpty, "events")
    #expect(left.isEmpty, "left behind")
}

extension Rig {
    /// Prints what a person needs to see why a test failed, before it is deleted.
    fileprivate func explain(_ error: any Error) async {
        say("FAILED: \(error)")
        print("events:\n" + (await events.tail(40)))
        let names = (try? FileManager.default.contentsOfDirectory(atPath: runDirectory + "/ddos")) ?? []
        let logs =
            ["droverd.log"] + names.sorted().flatMap { ["ddos/\($0)/stub.log", "ddos/\($0)/console.log", "libvirt/log/qemu/\($0).log"] }
        for log in logs {
            let data = FileManager.default.contents(atPath: "\(runDirectory)/\(log)") ?? Data()
            print("\(log):\n\(String(decoding: data.suffix(3000), as: UTF8.self))")
        }
        fflush(nil)
    }

    /// Stops everything. Returns what should not have been there after `drover down`, or could not be ended.
    fileprivate func cleanUp() async -> [String] {
        for command in runningCommands { command.kill() }
        var left: [String] = []
        do {
            try await client.down()
            for _ in 0..<100 where !processes().isEmpty { try? await Task.sleep(for: .milliseconds(50)) }
            left += processes().map { "process \($0.text)" }
            left += sockets().map { "socket \($0)" }
        } catch {
            // A test may have ended without a supervisor.
            if error.body.code != .unavailable { left.append("drover down: \(error)") }
        }
        await client.shutdown()
        await events.stop()
        for process in processes() { kill(process.pid, SIGKILL) }
        for _ in 0..<100 where !processes().isEmpty { try? await Task.sleep(for: .milliseconds(50)) }
        left += processes().map { "process that SIGKILL does not end: \($0.text)" }
        for directory in [runDirectory, dataDirectory] {
            do {
                try FileManager.default.removeItem(atPath: directory)
            } catch {
                left.append("\(directory): \(error)")
            }
        }
        return left
    }

    /// Processes other than this one whose command line names the rig's folders.
    private func processes() -> [(pid: Int32, text: String)] {
        let pids = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        let marks = [runDirectory, dataDirectory]
        return pids.filter { $0 != getpid() }.compactMap { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
            let text = String(decoding: data, as: UTF8.self).replacingOccurrences(of: "\0", with: " ")
            return marks.contains { text.contains($0) } ? (pid, "\(pid) \(text.prefix(120))") : nil
        }
    }

    private func sockets() -> [String] {
        let paths = (FileManager.default.enumerator(atPath: runDirectory)?.allObjects ?? []).compactMap { $0 as? String }
        return paths.filter { path in
            (try? FileManager.default.attributesOfItem(atPath: "\(runDirectory)/\(path)"))?[.type] as? FileAttributeType == .typeSocket
        }
    }
}
