import ControlAPI
import ControlModel
import Foundation
import Logging
import Testing

@Suite("Control API", .timeLimit(.minutes(5)))
struct ControlAPITests {
    /// Serves `service` on a socket of its own while `body` runs.
    private func withServer(_ service: RecordingService, _ body: (ControlClient, String) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "drover-api-\(UUID().uuidString.prefix(8))").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/drover.sock"
        let server = Task { try await ControlServer(service: service, socketPath: path, logger: Logger(label: "test")).run() }
        let client = ControlClient(socketPath: path)
        for _ in 0..<500 where (try? await client.info()) == nil { try await Task.sleep(for: .milliseconds(10)) }
        do { try await body(client, path) } catch {
            await client.shutdown()
            server.cancel()
            throw error
        }
        await client.shutdown()
        server.cancel()
        _ = await server.result
        #expect(!FileManager.default.fileExists(atPath: path), "the socket is gone after the server's end")
    }

    @Test func everyRequestArrivesAndItsAnswerComesBack() async throws {
        let service = RecordingService()
        try await withServer(service) { client, _ in
            #expect(try await client.info().pid == 42)
            #expect(try await client.list().map(\.name) == ["nvme0", "a b/ü%"])
            #expect(try await client.inspect("a b/ü%").summary.name == "a b/ü%")
            #expect(try await client.start("nvme0").phase == .starting)
            #expect(try await client.stop("nvme0").phase == .stopped)
            #expect(try await client.restart("nvme0").phase == .fencing)
            try await client.inject("nvme0", .hang)
            #expect(try await client.report(interval: 2.5).intervalSeconds == 2.5)
            #expect(try await client.report(interval: nil).intervalSeconds == 99)
            #expect(try await client.interface("a/b").interface.mtu == 1500)
            #expect(
                try await client.change("a/b", try InterfaceChange(parsing: ["mtu=9000", "coalesce=rx-usecs:50"])).interface.mtu == 9000)
            try await client.down()
            #expect(
                await service.calls == [
                    "list", "inspect a b/ü%", "start nvme0", "stop nvme0", "restart nvme0", "inject nvme0 hang", "report 2.5", "report nil",
                    "interface a/b", "change a/b 9000 50", "down",
                ])
        }
    }

    @Test func errorsKeepTheirCodeAndSentence() async throws {
        try await withServer(RecordingService()) { client, _ in
            let error = await #expect(throws: ControlError.self) { try await client.inspect("nobody") }
            #expect(error?.body.code == .notFound)
            #expect(error?.body.message == "No DD/OS is named 'nobody'.")
        }
    }

    @Test func eventsArriveOneByOneAndTheStreamEnds() async throws {
        try await withServer(RecordingService()) { client, _ in
            var seen: [UInt64] = []
            for try await event in try await client.events(from: 3, follow: false) { seen.append(event.sequence) }
            #expect(seen == [3, 4, 5])
        }
    }

    @Test func onlyTheOwnerMayConnect() async throws {
        try await withServer(RecordingService()) { _, path in
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
        }
    }

    @Test func aMissingSupervisorIsSaidInOneSentence() async throws {
        let client = ControlClient(socketPath: "/nonexistent/drover.sock")
        let error = await #expect(throws: ControlError.self) { try await client.list() }
        #expect(error?.body.code == .unavailable)
        #expect(error?.body.message.contains("droverd is not running") == true)
        await client.shutdown()
    }
}

/// A service that answers with fixed values and remembers what it was asked.
actor RecordingService: ControlService {
    var calls: [String] = []

    private func summary(_ name: String, _ phase: DDOSPhase) -> DDOSSummary {
        DDOSSummary(name: name, phase: phase, status: "", deviceClass: "block", device: "nvme (emulated)", image: "debian-6.1")
    }

    func info() async throws(ControlError) -> SupervisorInfo {
        SupervisorInfo(
            pid: 42, startedAt: Date(timeIntervalSince1970: 0), uptimeSeconds: 1, configurationFile: "c", runDirectory: "r",
            cacheDirectory: "k", libvirtURI: "qemu:///embed", accelerator: "tcg", acceleratorReason: "", lastEvent: 5)
    }

    func list() async throws(ControlError) -> [DDOSSummary] {
        calls.append("list")
        return [summary("nvme0", .ready), summary("a b/ü%", .stopped)]
    }

    func inspect(_ name: String) async throws(ControlError) -> DDOSDetail {
        guard name != "nobody" else { throw ControlError(.notFound, "No DD/OS is named 'nobody'.") }
        calls.append("inspect \(name)")
        return DDOSDetail(
            summary: summary(name, .ready), memoryMiB: 128, vcpus: 1, cid: 3, accelerator: "tcg", consoleLog: "c", stubLog: "s")
    }

    func start(_ name: String) async throws(ControlError) -> DDOSSummary {
        calls.append("start \(name)")
        return summary(name, .starting)
    }

    func stop(_ name: String) async throws(ControlError) -> DDOSSummary {
        calls.append("stop \(name)")
        return summary(name, .stopped)
    }

    func restart(_ name: String) async throws(ControlError) -> DDOSSummary {
        calls.append("restart \(name)")
        return summary(name, .fencing)
    }

    func inject(_ name: String, _ fault: InjectedFault) async throws(ControlError) { calls.append("inject \(name) \(fault.rawValue)") }

    private func detail(_ name: String, mtu: Int) -> InterfaceDetail {
        InterfaceDetail(
            ddos: name, phase: .ready, interface: InterfaceSummary(name: "dr-eth0", mtu: mtu), smallestMTU: 68, largestMTU: 9000)
    }

    func interface(_ name: String) async throws(ControlError) -> InterfaceDetail {
        calls.append("interface \(name)")
        return detail(name, mtu: 1500)
    }

    func change(_ name: String, _ change: InterfaceChange) async throws(ControlError) -> InterfaceDetail {
        calls.append("change \(name) \(change.mtu ?? 0) \(change.coalescing?.receiveMicroseconds ?? 0)")
        return detail(name, mtu: change.mtu ?? 1500)
    }

    func events(from: UInt64, follow: Bool) async throws(ControlError) -> AsyncThrowingStream<Event, any Error> {
        AsyncThrowingStream { continuation in
            for sequence in max(from, 1)...5 {
                continuation.yield(
                    Event(sequence: sequence, time: Date(timeIntervalSince1970: 1), kind: .ready, message: "line\nbreak \(sequence)"))
            }
            continuation.finish()
        }
    }

    func report(interval: Double?) async throws(ControlError) -> CPUReport {
        calls.append("report \(interval.map { "\($0)" } ?? "nil")")
        let usage = CPUUsage(vcpuSeconds: 0, vmmSeconds: 0, stubSeconds: 0, totalSeconds: 0, shareOfOneCPU: 0, shareOfMachine: 0)
        return CPUReport(
            time: Date(timeIntervalSince1970: 2), intervalSeconds: interval ?? 99, processors: 2, ddos: [],
            supervisor: SupervisorUsage(pid: 42, cpuSeconds: 0, shareOfOneCPU: 0, residentBytes: 0, uptimeSeconds: 0), mean: nil,
            total: usage)
    }

    func down() async throws(ControlError) { calls.append("down") }
}
