import Accounting
import ControlModel
import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder
import StubControl

extension DDOSRunner {
    func prepareImage(_ generation: UInt64) async {
        do {
            let log = place.log
            let name = name
            prepared = try await place.devices.prepare(configuration) { log.append(.imageProgress, $0, ddos: name) }
            if let image = prepared?.image, image.hash != life?.imageHash {
                log.append(.imageReady, "image \(image.hash.prefix(12)): kernel \(image.manifest.kernelRelease)", ddos: name)
            }
            send(.imageReady)
        } catch {
            send(.startFailed(generation: generation, reason: explanation(of: error)))
        }
    }

    /// Has a stub run and be connected.
    func startStub(_ generation: UInt64) async {
        await endDyingStub()
        if stub != nil { return send(.stubReady) }
        do {
            let log = place.run.stubLog(name)
            let logSize = (try? FileManager.default.attributesOfItem(atPath: log))?[.size] as? Int ?? 0
            unlink(place.run.controlSocket(name))
            let process = try place.spawnStub(stubArguments, log)
            let connection = await StubConnection.connect(
                name: name, path: place.run.controlSocket(name), seconds: 10,
                isAlive: {
                    // Reaps it, if it ended.
                    waitpid(process.pid, nil, WNOHANG)
                    return process.isRunning
                })
            guard let connection else {
                await StubProcess.kill(process)
                throw SupervisionError.stubEnded(name: name, log: StubProcess.lastWords(log, after: logSize))
            }
            take(connection, of: process)
            _ = try await connection.status(seconds: 5)
            place.log.append(.stubStarted, "client stub started, pid \(process.pid)", ddos: name)
            send(.stubReady)
        } catch {
            await dropStub()
            send(.startFailed(generation: generation, reason: explanation(of: error)))
        }
    }

    private var stubArguments: [String] {
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
    func take(_ connection: StubConnection, of process: ProcessIdentity) {
        stub = Stub(process: process, connection: connection)
        stubMeter.begin(process)
        Task { [weak self] in
            for await event in connection.events { await self?.heard(event, from: connection) }
            await self?.disconnected(connection)
        }
    }

    func openSession(_ generation: UInt64) async {
        do {
            guard let stub else { throw SupervisionError.stubDisconnected(name: name) }
            _ = try await stub.connection.call(.open(generation: generation), seconds: 5)
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
        let commandLine = [
            manifest.commandLine, "hugepages=\(configuration.pool.bytes >> 21)", "drover.device=0000:00:10.0", "drover.port=4050",
        ]
        let spec = VirtualMachineSpec(
            name: name, uuid: uuid, memoryMiB: configuration.memory.mebibytes, vcpus: configuration.vcpus, kernel: prepared.image.kernel,
            initrd: prepared.image.initrd, commandLine: commandLine.filter { !$0.isEmpty }.joined(separator: " "),
            accelerator: place.accelerator, device: prepared.binding, vsockSocket: place.run.vsockSocket(name),
            consoleLog: place.run.consoleLog(name))
        // Known, and in the file, before it exists: a supervisor that dies in between leaves no VM that nobody knows.
        life = StateFile.Life(
            uuid: uuid, generation: generation, imageHash: prepared.image.hash, kernelVersion: manifest.kernelRelease,
            accelerator: place.accelerator.rawValue)
        save()
        isStartingVMM = true
        endBeforeAnswer = nil
        do {
            let pid = try await place.machines.start(spec, deadline: .seconds(30))
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
