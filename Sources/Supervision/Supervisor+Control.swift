import Accounting
public import ControlModel
import Foundation
import Hypervisor
import StubControl

extension Supervisor: ControlService {
    public func info() async throws(ControlError) -> SupervisorInfo {
        SupervisorInfo(
            pid: getpid(), startedAt: startedAt.wall, uptimeSeconds: uptime, configurationFile: options.configurationFile,
            runDirectory: options.runDirectory, cacheDirectory: options.cacheDirectory,
            libvirtURI: options.libvirtURI ?? "qemu:///embed?root=\(directory.libvirtRoot)",
            accelerator: acceleratorChoice.accelerator.rawValue,
            acceleratorReason: acceleratorChoice.reason, lastEvent: log.lastSequence)
    }

    public func list() async throws(ControlError) -> [DDOSSummary] {
        var result: [DDOSSummary] = []
        for runner in runners { result.append(await runner.summary) }
        return result
    }

    public func inspect(_ name: String) async throws(ControlError) -> DDOSDetail {
        await (try runner(name)).detail()
    }

    public func start(_ name: String) async throws(ControlError) -> DDOSSummary {
        let runner = try runner(name)
        await runner.send(.startRequested)
        return await runner.summary
    }

    public func stop(_ name: String) async throws(ControlError) -> DDOSSummary {
        let runner = try runner(name)
        await runner.send(.stopRequested)
        guard await runner.wait(for: [.stopped], seconds: 60) else {
            throw ControlError(.timedOut, "'\(name)' was not stopped within 60 s; `drover events` tells why")
        }
        return await runner.summary
    }

    public func restart(_ name: String) async throws(ControlError) -> DDOSSummary {
        let runner = try runner(name)
        await runner.send(.restartRequested)
        return await runner.summary
    }

    public func inject(_ name: String, _ fault: InjectedFault) async throws(ControlError) {
        try await runner(name).inject(fault)
    }

    public func interface(_ name: String) async throws(ControlError) -> InterfaceDetail {
        try await runner(name).interfaceDetail()
    }

    public func change(_ name: String, _ change: InterfaceChange) async throws(ControlError) -> InterfaceDetail {
        try await runner(name).change(change)
    }

    public func events(from: UInt64, follow: Bool) async throws(ControlError) -> AsyncThrowingStream<Event, any Error> {
        log.events(from: from, follow: follow)
    }

    public func report(interval: Double?) async throws(ControlError) -> CPUReport {
        var before: Reading?
        if let interval {
            guard interval >= 0.1, interval <= 3600 else {
                throw ControlError(.invalid, "a report's interval has to be from 0.1 to 3600 seconds")
            }
            before = await reading()
            do {
                try await Task.sleep(for: .seconds(interval))
            } catch {
                throw ControlError(.unavailable, "the report was cancelled")
            }
        }
        let after = await reading()
        return CPUReport(
            from: before, to: after, processors: ProcessInfo.processInfo.processorCount, supervisor: getpid(), uptime: uptime, at: Date())
    }

    public func down() async throws(ControlError) {
        log.append(.stopped, "everything is being stopped on request")
        let failed = await withTaskGroup { group in
            for runner in runners {
                group.addTask { () -> String? in
                    await runner.send(.stopRequested)
                    return await runner.wait(for: [.stopped], seconds: 60) ? nil : runner.name
                }
            }
            var names: [String] = []
            for await case let name? in group { names.append(name) }
            return names
        }
        guard failed.isEmpty else {
            let names = failed.sorted().joined(separator: ", ")
            throw ControlError(.timedOut, "not stopped within 60 s: \(names); `drover events` tells why, and `drover down` tries again")
        }
        for runner in runners { await runner.forget() }
        isDown = true
        requestDown.yield()
    }

    private var uptime: Double { Moment.now.monotonic - startedAt.monotonic }

    private func runner(_ name: String) throws(ControlError) -> DDOSRunner {
        if let runner = runners.first(where: { $0.name == name }) { return runner }
        let names = runners.map(\.name).joined(separator: ", ")
        throw ControlError(.notFound, "there is no DD/OS '\(name.prefix(64))'; there is: \(names)")
    }
}

extension DDOSRunner {
    /// Brings a real fault about. The machine is told nothing: it has to notice.
    func inject(_ fault: InjectedFault) async throws(ControlError) {
        guard let vmm = life?.vmm, vmm.isRunning else {
            throw ControlError(.conflict, "'\(name)' has no running VM to break; it is \(machine.phase.rawValue)")
        }
        place.log.append(
            DDOSMachine.Report(.injected, "fault injected: \(fault.rawValue)", generation: machine.record.generation), ddos: name)
        do {
            switch fault {
            case .panic: try await place.machines.injectNMI(name)
            case .kill: kill(vmm.pid, SIGKILL)
            case .hang:
                guard let stub else { throw SupervisionError.stubDisconnected(name: name) }
                _ = try await stub.connection.call(.inject(.hang), seconds: 5)
            }
        } catch {
            throw ControlError(.failed, "\(error)")
        }
    }
}
