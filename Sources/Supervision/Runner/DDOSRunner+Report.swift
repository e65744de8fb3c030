import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import StubControl

extension DDOSRunner {
    var summary: DDOSSummary {
        var summary = DDOSSummary(
            name: name, phase: machine.phase, status: status, deviceClass: configuration.deviceClass.rawValue,
            device: Self.describe(configuration.device), image: configuration.image, generation: machine.record.generation,
            restarts: machine.record.restarts, uptimeSeconds: uptime, vmmPID: life?.vmm?.pid, stubPID: stub?.process.pid, disks: disks,
            frontEnds: frontEnds)
        summary.interface = interfaceSummary
        return summary
    }

    private var uptime: Double? {
        guard machine.phase == .ready, let since = machine.record.readySince else { return nil }
        return max(0, place.now().monotonic - since.monotonic)
    }

    private var frontEnds: [FrontEndSummary] {
        guard let socket = nbdSocket else { return [] }
        let uris = disks.map { "nbd+unix:///\($0.name)?socket=\(socket)" }
        return [FrontEndSummary(kind: "nbd", path: socket, uris: uris)]
    }

    func detail() async -> DDOSDetail {
        let status = await readRequests()
        let record = machine.record
        let requests = status.map(RequestCounters.init)
        var detail = DDOSDetail(
            summary: summary, memoryMiB: GuestMemory(configuration, prepared?.image.manifest).memoryMiB, vcpus: configuration.vcpus,
            cid: cid,
            accelerator: life?.accelerator ?? place.accelerator.rawValue, imageHash: life?.imageHash ?? prepared?.image.hash,
            kernelVersion: life?.kernelVersion, settings: Self.settings(configuration), consoleLog: place.run.consoleLog(name),
            stubLog: place.run.stubLog(name), requests: requests,
            failures: record.failures.map {
                FailureRecord(time: $0.at.wall, generation: $0.generation, cause: $0.cause, reason: $0.reason)
            },
            recoveries: record.recoveries, lastConsoleLines: lastConsoleLines)
        detail.lastStart = lastStart
        return detail
    }

    /// The stub's counters; nil if it does not answer soon.
    @discardableResult
    func readRequests() async -> StubStatus? {
        guard let connection = stub?.connection, let status = try? await connection.status(seconds: 1) else { return nil }
        if stub?.connection === connection { lastRequests = status.requestsCompleted }
        return status
    }

    func reading() async -> DDOSReading {
        await readRequests()
        vmmMeter.sample()
        stubMeter.sample()
        let now = place.now().monotonic
        let down = machine.record.down.map { max(0, now - $0.failure.at.monotonic) } ?? 0
        return DDOSReading(
            name: name, phase: machine.phase, vmm: vmmMeter.total, stub: stubMeter.total, requests: pastRequests + lastRequests,
            vmmMemory: vmmMeter.process.flatMap { ProcessMemory(of: $0) } ?? ProcessMemory(),
            stubMemory: stubMeter.process.flatMap { ProcessMemory(of: $0) } ?? ProcessMemory(), uptimeSeconds: uptime,
            restarts: machine.record.restarts, lostSeconds: machine.record.lostSeconds + down,
            ageSeconds: machine.record.firstStarted.map { max(0, now - $0) } ?? 0)
    }

    static func describe(_ device: DDOSDevice) -> String {
        switch device {
        case .emulated(let model, _), .emulatedNIC(let model, _, _): "\(model) (emulated)"
        case .pci(let address): address
        }
    }

    static func settings(_ configuration: DDOSConfiguration) -> [String: String] {
        let restart = configuration.restart
        let requests = configuration.requests
        var result = [
            "memory": configuration.memoryIsGiven ? "\(configuration.memory)" : "what the image takes",
            "pool": configuration.poolIsGiven ? "\(configuration.pool)" : "what the image takes", "queueSize": "\(configuration.queueSize)",
            "boot.deadline": DurationText.format(configuration.bootDeadline), "autostart": "\(configuration.autostart)",
            "restart.backoff": "\(DurationText.format(restart.backoffMinimum))..\(DurationText.format(restart.backoffMaximum))",
            "restart.stableAfter": DurationText.format(restart.stableAfter),
            "restart.quarantine": restart.quarantine.map { "\($0.failures) failures within \(DurationText.format($0.within))" } ?? "never",
            "restart.onQuarantine": restart.onQuarantine.rawValue, "requests.deadline": DurationText.format(requests.deadline),
            "requests.whileDown": requests.whileDown.rawValue, "requests.pingTimeout": DurationText.format(requests.pingTimeout),
            "requests.holdLimit": requests.holdLimit.map(DurationText.format) ?? "none",
        ]
        result["limits.cpu"] = configuration.limits.cpu.map { "\(Int(($0 * 100).rounded()))%" } ?? "none"
        result["limits.memory"] = configuration.limits.memory.map { "\($0)" } ?? "none"
        if case .emulated(_, let backing) = configuration.device { result["device.backing.file"] = backing.file }
        return result
    }
}

extension RequestCounters {
    init(_ status: StubStatus) {
        self.init()
        inFlight = status.inFlight
        held = status.held
        completed = status.requestsCompleted
        failed = status.requestsFailed
        replayed = status.requestsReplayed
        bytesRead = status.bytesRead
        bytesWritten = status.bytesWritten
        doorbellsSent = status.doorbellsSent
        doorbellsReceived = status.doorbellsReceived
        sessionsLost = status.sessionsLost
        clients = status.clients
        lastRecoveryGapSeconds = status.lastRecoveryGap
    }
}
