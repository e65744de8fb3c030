import CLibvirt
import Foundation
import Logging
import Synchronization

extension Hypervisor {
    /// Starts a machine; returns the VMM's process id once the guest's vCPUs run.
    ///
    /// After the deadline the VMM is killed, if there is one.
    public func start(_ spec: VirtualMachineSpec, deadline: Duration = .seconds(30)) async throws(HypervisorError) -> Int32 {
        let xml = try DomainXML(spec, emulator: emulator, mark: mark.element).text
        try Self.check(spec)
        let uuid = spec.uuid.uuidString.lowercased()
        let expired = Flag()
        let watch = Task { [logger] in
            try await Task.sleep(for: deadline)
            expired.set()
            logger.warning("the start of a machine takes too long: killing its VMM", metadata: ["machine": "\(spec.name)"])
            // More than once: the VMM may not have been executed yet.
            while true {
                VMMProcess.find(uuid: uuid)?.kill()
                try await Task.sleep(for: .milliseconds(200))
            }
        }
        defer { watch.cancel() }
        let (connection, root, mark) = (connection, root, mark)
        let process = try await calls.run { () throws(HypervisorError) in
            try mark.check(spec.name, connection)
            let log = EmbeddedRoot(path: root, cache: "").log(of: spec.name)
            let before = EmulatorLog.size(log)
            let domain = try VMMProcess.reapingEmulators { () throws(HypervisorError) in
                if let domain = virDomainCreateXML(connection.pointer, xml, 0) { return domain }
                let error = LibvirtError.last()
                if expired.isSet { throw .timedOut(machine: spec.name, operation: "starting", seconds: deadline.inSeconds) }
                throw ErrorMapping.starting(error, spec: spec, log: EmulatorLog.words(log, since: before))
            }
            defer { virDomainFree(domain) }
            if let limit = spec.memoryLimitMiB { try Self.limitMemory(of: domain, mebibytes: limit, machine: spec.name) }
            guard let process = VMMProcess.find(uuid: uuid) else {
                throw .startFailed(machine: spec.name, detail: EmulatorLog.words(log, since: before).last ?? "the VMM ended at once")
            }
            return process
        }
        hold(process, of: spec.name)
        return process.pid
    }

    /// Ends a machine's life: returns only when the VMM process is gone and reaped, so that nothing of it can write or DMA any more.
    ///
    /// A machine that is gone already is no error, provided that its process is gone too. Another's machine of this name is left alone.
    public func destroy(_ name: String, deadline: Duration = .seconds(20)) async throws(HypervisorError) {
        let known = processes.withLock { $0[name] }
        let (connection, callbacks, root, mark) = (connection, callbacks, root, mark)
        try await calls.run { () throws(HypervisorError) in
            let end = ContinuousClock.now + deadline
            // The process that was started or adopted, and whatever else /proc shows under this name.
            var all = VMMProcess.find(name: name, root: root)
            if let known, !all.contains(where: { $0.pid == known.pid && $0.uuid == known.uuid }) { all.append(known) }
            // SIGKILL at once: this is a fence. The disk was told to flush when the guest asked for it; there is nothing in a VMM to save. It
            // also ends a VMM that is stopped or stuck, for which libvirt would wait ten seconds.
            for process in all {
                callbacks.willEnd(uuid: process.uuid)
                process.kill()
            }
            for process in all {
                guard process.waitUntilReaped(deadline: end) else {
                    throw .timedOut(machine: name, operation: "ending the VMM (process \(process.pid))", seconds: deadline.inSeconds)
                }
            }
            try Self.waitUntilForgotten(name, connection, end, deadline) { mark.isOn($0, known: known?.uuid) }
        }
        processes.withLock { processes in
            // Not a life that was started meanwhile.
            if processes[name]?.pid == known?.pid { processes[name] = nil }
        }
    }

    /// libvirt notices the death by itself. This makes sure that it has: that the name is free again, and the device not in use.
    private static func waitUntilForgotten(
        _ name: String, _ connection: Connection, _ end: ContinuousClock.Instant, _ deadline: Duration,
        isOurs: (OpaquePointer) -> Bool
    ) throws(HypervisorError) {
        while let domain = virDomainLookupByName(connection.pointer, name) {
            defer { virDomainFree(domain) }
            guard isOurs(domain) else { return }
            if virDomainDestroy(domain) < 0 {
                let error = ErrorMapping.calling(.last(), operation: "destroy", machine: name)
                // On its way out: told to have stopped, and not yet off the list.
                guard case .notRunning = error else { throw error }
            }
            if ContinuousClock.now >= end {
                throw .timedOut(machine: name, operation: "taking it off libvirt's list", seconds: deadline.inSeconds)
            }
            usleep(2000)
        }
    }

    /// A hard limit of the machine's memory control group. Without it there is no machine.
    private static func limitMemory(of domain: OpaquePointer, mebibytes: Int, machine: String) throws(HypervisorError) {
        var parameters: virTypedParameterPtr?
        var count: Int32 = 0
        var capacity: Int32 = 0
        defer { virTypedParamsFree(parameters, count) }
        let kibibytes = UInt64(mebibytes) << 10
        guard virTypedParamsAddULLong(&parameters, &count, &capacity, "hard_limit", kibibytes) == 0,
            virDomainSetMemoryParameters(domain, parameters, count, VIR_DOMAIN_AFFECT_LIVE.rawValue) == 0
        else {
            let error = LibvirtError.last()
            virDomainDestroy(domain)
            throw .limitUnavailable(machine: machine, detail: ErrorMapping.sentence(error.message))
        }
    }

    private static func check(_ spec: VirtualMachineSpec) throws(HypervisorError) {
        var files = [spec.kernel, spec.initrd]
        if case .emulated(_, let file) = spec.device { files.append(file) }
        for file in files where !FileManager.default.isReadableFile(atPath: file) {
            throw .fileMissing(machine: spec.name, path: file)
        }
        // The guest's memory is taken page by page as it is touched, so QEMU would start, and the kernel would kill somebody later.
        if let available = HostMemory.available(), available < UInt64(spec.memoryMiB) << 20 {
            throw .insufficientMemory(
                machine: spec.name,
                detail: "it asks for \(ByteCount.text(UInt64(spec.memoryMiB) << 20)), and \(ByteCount.text(available)) are available")
        }
    }
}

enum HostMemory {
    /// `MemAvailable` of /proc/meminfo, in bytes.
    static func available(meminfo path: String = "/proc/meminfo") -> UInt64? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n") where line.hasPrefix("MemAvailable:") {
            return line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.map { $0 * 1024 }
        }
        return nil
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
