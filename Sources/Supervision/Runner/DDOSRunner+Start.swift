import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import StubControl

extension DDOSRunner {
    func prepareImage(_ generation: UInt64) async {
        startClock = StartClock(generation: generation, now: place.now().monotonic)
        do {
            let log = place.log
            let name = name
            prepared = try await place.devices.prepare(configuration) { log.append(.imageProgress, $0, ddos: name) }
            if let image = prepared?.image, image.hash != life?.imageHash {
                // A lean recipe gives a stock image to a device that it has no drivers for.
                let instead =
                    image.manifest.recipe == configuration.image ? "" : ", \(image.manifest.recipe) instead of \(configuration.image)"
                log.append(.imageReady, "image \(image.hash.prefix(12)): kernel \(image.manifest.kernelRelease)\(instead)", ddos: name)
            }
            if let taken = prepared?.taken { log.append(.deviceTaken, taken, ddos: name) }
            startClock?.imageReady(at: place.now().monotonic)
            send(.imageReady)
        } catch {
            send(.startFailed(generation: generation, reason: explanation(of: error)))
        }
    }

    /// Has a stub run and be connected.
    func startStub(_ generation: UInt64) async {
        await endDyingStub()
        do {
            try await ensureInterface()
            if try await keepsStub() { return send(.stubReady) }
            // A new stub takes a dead one's socket over. One on which somebody answers is not ours.
            if let socket = nbdSocket, StubProcess.isServed(socket) { throw SupervisionError.socketInUse(name: name, path: socket) }
            let log = place.run.stubLog(name)
            let logSize = (try? FileManager.default.attributesOfItem(atPath: log))?[.size] as? Int ?? 0
            unlink(place.run.controlSocket(name))
            let settings = stubSettings
            let process = try place.spawnStub(stubArguments, log)
            let connection = await StubConnection.connect(
                name: name, path: place.run.controlSocket(name), seconds: place.stubPatience,
                isAlive: {
                    // Reaps it, if it ended.
                    waitpid(process.pid, nil, WNOHANG)
                    return process.isRunning
                })
            guard let connection else {
                await StubProcess.kill(process)
                throw SupervisionError.stubEnded(name: name, log: StubProcess.lastWords(log, after: logSize))
            }
            take(connection, of: process, settings: settings)
            _ = try await connection.status(seconds: place.stubPatience)
            try await rememberSettings(connection)
            place.log.append(.stubStarted, "client stub started, pid \(process.pid)", ddos: name)
            send(.stubReady)
        } catch {
            await dropStub()
            send(.startFailed(generation: generation, reason: explanation(of: error)))
        }
    }

    /// Whether the stub that there is will do. One that was told other settings will not where somebody asked for a restart: its clients
    /// have to reconnect. After a failure they must not notice, so then the change waits.
    private func keepsStub() async throws -> Bool {
        defer { takesNewSettings = false }
        guard let stub else { return false }
        guard takesNewSettings, stub.settings != stubSettings else { return true }
        place.log.append(.warning, "its configuration has changed: the client stub is replaced, and its clients reconnect", ddos: name)
        await endStub()
        return false
    }

    /// What a stub is told at its start: one that was told otherwise has to be replaced for a change to count.
    private var stubSettings: [String] { stubArguments + (configuration.network.map { ["\($0.settings)"] } ?? []) }

    private var stubArguments: [String] {
        if let networkStubArguments { return networkStubArguments }
        let requests = configuration.requests
        var arguments = [
            "--name", name, "--directory", place.run.ddos(name), "--cid", "\(cid)", "--request-deadline", "\(requests.deadline.seconds)",
            "--while-down", requests.whileDown.rawValue, "--ping-timeout", "\(requests.pingTimeout.seconds)", "--queue-size",
            "\(configuration.queueSize)", "--log-level", place.logLevel,
        ]
        if let limit = requests.holdLimit { arguments += ["--hold-limit", "\(limit.seconds)"] }
        if let socket = nbdSocket { arguments += ["--nbd", socket] }
        return arguments
    }

    /// From now on this is the stub; its events go to the machine.
    func take(_ connection: StubConnection, of process: ProcessIdentity, settings: [String]?) {
        stub = Stub(process: process, connection: connection, settings: settings)
        stubMeter.begin(process)
        Task { [weak self] in
            for await event in connection.events { await self?.heard(event, from: connection) }
            await self?.disconnected(connection)
        }
    }

    func openSession(_ generation: UInt64) async {
        do {
            guard let stub else { throw SupervisionError.stubDisconnected(name: name) }
            _ = try await stub.connection.call(.open(generation: generation), seconds: place.stubPatience)
            send(.sessionOpened(generation: generation))
        } catch {
            // A stub that does not obey is of no use.
            await dropStub()
            send(.startFailed(generation: generation, reason: explanation(of: error)))
        }
    }

    func startVirtualMachine(_ generation: UInt64) async {
        guard let prepared else { return send(.startFailed(generation: generation, reason: "there is no image")) }
        let manifest = prepared.image.manifest
        let uuid = UUID()
        let memory = GuestMemory(configuration, manifest)
        machine.bootHint = memory.hint
        // no_timer_check: the kernel counts timer interrupts over a span that it measures by spinning. A busy host keeps them from the guest for
        // longer than that, and the kernel panics ("IO-APIC + timer doesn't work!") long before anybody can hear of it.
        let timer = GuestTimer(place.accelerator, isUniprocessor: manifest.lean != nil)
        let commandLine =
            [
                manifest.commandLine, "no_timer_check", "hugepages=\(memory.poolMiB / 2)", "drover.device=0000:00:10.0", "drover.port=4050",
            ] + (place.accelerator == .tcg ? HostClock.kernelParameters : []) + timer.kernelParameters + prepared.binding.kernelParameters
            + networkParameters
        var spec = VirtualMachineSpec(
            name: name, uuid: uuid, memoryMiB: memory.memoryMiB, vcpus: configuration.vcpus, kernel: prepared.image.kernel,
            initrd: prepared.image.initrd, commandLine: commandLine.filter { !$0.isEmpty }.joined(separator: " "),
            accelerator: place.accelerator, device: prepared.binding, vsockSocket: place.run.vsockSocket(name),
            consoleLog: place.run.consoleLog(name))
        if configuration.deviceClass == .network { spec.packets = PacketChannel(socket: place.run.packetSocket(name)) }
        spec.timer = timer
        spec.cpuLimit = configuration.limits.cpu
        spec.memoryLimitMiB = configuration.limits.memory?.mebibytes
        // Known, and in the file, before it exists: a supervisor that dies in between leaves no VM that nobody knows.
        life = StateFile.Life(
            uuid: uuid, generation: generation, imageHash: prepared.image.hash, kernelVersion: manifest.kernelRelease,
            accelerator: place.accelerator.rawValue)
        save()
        isStartingVMM = true
        startClock?.launching(at: place.now().monotonic)
        endBeforeAnswer = nil
        do {
            // Long: on a busy machine QEMU takes its time, and the first start under a libvirt finds out what QEMU can do.
            let pid = try await place.machines.start(spec, deadline: max(.seconds(90), configuration.bootDeadline))
            isStartingVMM = false
            if let process = ProcessIdentity(pid: pid) {
                life?.vmm = process
                vmmMeter.begin(process)
            }
            send(.virtualMachineStarted(generation: generation))
            if let end = endBeforeAnswer { send(end) }
        } catch {
            isStartingVMM = false
            send(.startFailed(generation: generation, reason: explanation(of: error)))
        }
    }
}
