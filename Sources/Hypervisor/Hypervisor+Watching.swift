import CLibvirt
import Foundation
import Synchronization

extension Hypervisor {
    /// All machines, each with a state that was true after the call began.
    ///
    /// Also what adopts machines of an earlier owner: their VMMs are held from here on. A machine that died unwatched is not in the list; one
    /// that panicked unwatched is, as ``RunningMachine/State/crashed``.
    public func running() async throws(HypervisorError) -> [RunningMachine] {
        let (connection, mark) = (connection, mark)
        let domains = try await calls.run { () throws(HypervisorError) in
            var list: UnsafeMutablePointer<virDomainPtr?>?
            let count = virConnectListAllDomains(connection.pointer, &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE.rawValue)
            guard count >= 0, let list else { throw .libvirt(operation: "list the machines", message: LibvirtError.last().message) }
            defer { free(list) }
            let all = (0..<Int(count)).compactMap { list[$0].map(ListedDomain.init) }
            return all.filter { mark.isOn($0.pointer) }
        }
        let found = await withTaskGroup { group in
            for domain in domains { group.addTask { await self.describe(domain) } }
            var found: [(RunningMachine, VMMProcess)] = []
            for await case let machine? in group { found.append(machine) }
            return found
        }
        for (machine, process) in found { hold(process, of: machine.name) }
        return found.map(\.0)
    }

    /// How long a VMM's monitor may take.
    static let monitorLimit = Duration.seconds(3)

    /// nil: it died while this was asked, or nothing can be learnt of it.
    private func describe(_ domain: ListedDomain) async -> (RunningMachine, VMMProcess)? {
        // Right after opening, libvirt's states can be stale. An answer of the monitor is a barrier: everything that QEMU said before it
        // has been taken in. A VMM that is stuck does not answer, and must not keep the others waiting; then the state is what libvirt has.
        _ = try? await calls.run(within: Self.monitorLimit) { () throws(HypervisorError) in
            var answer: UnsafeMutablePointer<CChar>?
            if virDomainQemuMonitorCommand(domain.pointer, "{\"execute\":\"query-status\"}", &answer, 0) == 0 { free(answer) }
        }
        let described = try? await calls.run(within: Self.monitorLimit) { () throws(HypervisorError) in Self.describe(domain.pointer) }
        return described ?? nil
    }

    private static func describe(_ domain: OpaquePointer) -> (RunningMachine, VMMProcess)? {
        let text = DomainIdentity.uuidText(domain)
        guard let uuid = UUID(uuidString: text), let process = VMMProcess.find(uuid: text) else { return nil }
        var state: Int32 = 0
        var reason: Int32 = 0
        guard virDomainGetState(domain, &state, &reason, 0) == 0 else { return nil }
        func `is`(_ constant: virDomainState) -> Bool { Int32(bitPattern: constant.rawValue) == state }
        if `is`(VIR_DOMAIN_SHUTOFF) { return nil }
        let paused = `is`(VIR_DOMAIN_PAUSED)
        let crashed =
            `is`(VIR_DOMAIN_CRASHED) || paused && (reason == Int32(VIR_DOMAIN_PAUSED_CRASHED.rawValue))
        let machine = RunningMachine(
            name: DomainIdentity.name(domain), uuid: uuid, pid: process.pid,
            state: crashed ? .crashed : paused ? .paused : `is`(VIR_DOMAIN_RUNNING) ? .running : .other)
        return (machine, process)
    }

    /// A non-maskable interrupt to the guest: its kernel panics when it was booted with `unknown_nmi_panic=1`.
    public func injectNMI(_ name: String) async throws(HypervisorError) {
        try await call(name, "send an NMI to") { virDomainInjectNMI($0, 0) }
    }

    /// Stops the vCPUs: to the outside a machine that hangs.
    public func pause(_ name: String) async throws(HypervisorError) {
        try await call(name, "pause") { virDomainSuspend($0) }
    }

    public func resume(_ name: String) async throws(HypervisorError) {
        try await call(name, "resume") { virDomainResume($0) }
    }

    private func call(_ name: String, _ operation: String, _ function: @escaping @Sendable (OpaquePointer) -> Int32)
        async throws(HypervisorError)
    {
        let connection = connection
        try await calls.run { () throws(HypervisorError) in try connection.call(name, operation, function) }
    }

    /// What a machine has used. Read from /proc: it costs no call to the VMM, so it works for one that is stuck too.
    public func statistics(_ name: String) async throws(HypervisorError) -> MachineStatistics {
        guard let process = processes.withLock({ $0[name] }), let statistics = MachineStatistics(pid: process.pid) else {
            throw .notRunning(machine: name)
        }
        return statistics
    }
}

/// A machine from libvirt's list, let go of with the last that uses it: a call that is overdue may still.
private final class ListedDomain: @unchecked Sendable {
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { virDomainFree(pointer) }
}
