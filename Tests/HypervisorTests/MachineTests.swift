import Foundation
import LinuxSystem
import Logging
import Testing

@testable import Hypervisor

/// Real machines under TCG: a Debian kernel without a user space of its own, which is enough to be started, hurt and ended.
///
/// The kernel comes out of DROVER_CACHE_DIR, or by `apt-get download` into it.
@Suite(.serialized, .timeLimit(.minutes(5))) struct MachineTests {
    static let cache = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? "/var/cache/drover"

    @Test func machineIsWatchedAndItsProcessIsGoneWhenDestroyReturns() async throws {
        let place = try Place()
        let hypervisor = try await place.open()
        var events = hypervisor.events.makeAsyncIterator()
        let spec = try place.spec()
        let pid = try await hypervisor.start(spec)
        #expect(try await hypervisor.running() == [RunningMachine(name: "drover-test", uuid: spec.uuid, pid: pid, state: .running)])

        await #expect(throws: HypervisorError.alreadyRunning(machine: "drover-test")) {
            try await hypervisor.start(spec.with { $0.uuid = UUID() })
        }
        await #expect(throws: HypervisorError.self) { try await hypervisor.start(spec.with { ($0.name, $0.uuid) = ("other", UUID()) }) }

        try await place.waitForConsole("Kernel panic")
        let statistics = try await hypervisor.statistics("drover-test")
        #expect(statistics.vcpuNanoseconds > 0)
        #expect(statistics.totalNanoseconds >= statistics.vcpuNanoseconds)
        #expect(statistics.residentBytes > statistics.guestResidentBytes)

        try await hypervisor.pause("drover-test")
        #expect(try await hypervisor.running().first?.state == .paused)
        try await hypervisor.destroy("drover-test")
        #expect(kill(pid, 0) == -1 && errno == ESRCH)
        #expect(try await hypervisor.running().isEmpty)
        // Already gone: no error.
        try await hypervisor.destroy("drover-test")
        await #expect(throws: HypervisorError.notRunning(machine: "drover-test")) { try await hypervisor.injectNMI("drover-test") }

        var stopped: VirtualMachineEvent?
        while let event = await events.next() {
            if case .stopped = event.kind, event.machine == "drover-test" {
                stopped = event
                break
            }
        }
        #expect(stopped == VirtualMachineEvent(machine: "drover-test", uuid: spec.uuid, kind: .stopped(.destroyed)))
        await hypervisor.close()
    }

    @Test func killedVMMIsAnEventAndReapedByItself() async throws {
        let place = try Place()
        let hypervisor = try await place.open()
        let spec = try place.spec()
        let pid = try await hypervisor.start(spec)
        // What is kept open until the process is reaped, so that libvirt never finds it dying and waits: it is found among the VMM's descriptors.
        let process = try #require(VMMProcess(pid: pid, uuid: spec.uuid.uuidString.lowercased()))
        let hasMonitor = process.monitorConnection() != nil
        #expect(hasMonitor)
        kill(pid, SIGKILL)
        for await event in hypervisor.events where event.uuid == spec.uuid {
            if case .stopped(let reason) = event.kind {
                #expect(reason == .failed)
                break
            }
        }
        #expect(kill(pid, 0) == -1 && errno == ESRCH)
        // Fenced, the next life has the name again.
        try await hypervisor.destroy("drover-test")
        let next = try await hypervisor.start(spec.with { $0.uuid = UUID() })
        #expect(next != pid)
        try await hypervisor.destroy("drover-test")
        await hypervisor.close()
    }

    /// What libvirt forks to become QEMU, and what fails before it does: nobody else reaps it, and libvirt waits for that for half a minute.
    @Test func aDaemonThatEndedBeforeItWasQEMUIsReaped() async throws {
        try ProcessControl.becomeChildSubreaper()
        let shell = Process()
        shell.executableURL = URL(filePath: "/usr/bin/setsid")
        shell.arguments = ["sh", "-c", "sleep 0.1 & echo $!"]
        let output = Pipe()
        shell.standardOutput = output
        try shell.run()
        let text = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let pid = try #require(Int32(text.trimmingCharacters(in: .newlines)))
        let reaped = try VMMProcess.reapingEmulators { () throws(HypervisorError) in
            let deadline = ContinuousClock.now + .seconds(60)
            while kill(pid, 0) == 0, ContinuousClock.now < deadline { usleep(5000) }
            return kill(pid, 0) == -1 && errno == ESRCH
        }
        #expect(reaped)
        shell.waitUntilExit()
        #expect(shell.terminationStatus == 0, "a child of one's own is left to whom started it")
    }

    /// A QEMU that makes a daemon of itself, as libvirt runs it to ask what it can do: the first of its forks is somebody's who waits for it.
    @Test func aChildThatIsWaitedForIsNotReapedWhateverItsName() throws {
        let place = TemporaryDirectory()
        let program = place.path + "/qemu-system-test"
        try FileManager.default.copyItem(atPath: "/bin/true", toPath: program)
        var pid: pid_t = 0
        #expect(posix_spawn(&pid, program, nil, nil, [strdup(program), nil], nil) == 0)
        try VMMProcess.reapingEmulators { () throws(HypervisorError) in
            // Long after it has ended, and after several looks around.
            let deadline = ContinuousClock.now + .milliseconds(300)
            while ContinuousClock.now < deadline { usleep(5000) }
        }
        #expect(waitpid(pid, nil, 0) == pid, "it was left to whom started it")
    }

    @Test func rebootOfTheGuestEndsItsLife() async throws {
        let place = try Place()
        let hypervisor = try await place.open()
        let spec = try place.spec().with { $0.commandLine = "console=ttyS0 panic=-1" }
        _ = try await hypervisor.start(spec)
        for await event in hypervisor.events where event.uuid == spec.uuid {
            if case .stopped = event.kind { break }
        }
        try await hypervisor.destroy("drover-test")
        #expect(try await hypervisor.running().isEmpty)
        await hypervisor.close()
    }
}

/// One test's run directory and devices.
final class Place {
    let directory = TemporaryDirectory()

    init() throws {
        // VMMs become this process's children, as they are droverd's.
        try ProcessControl.becomeChildSubreaper()
    }

    func open() async throws(HypervisorError) -> Hypervisor {
        try await Hypervisor.open(
            root: Self.root.path, cacheDirectory: MachineTests.cache, logger: Logger(label: "test"))
    }

    /// libvirt keeps one root for the life of a process.
    private static let root: TemporaryDirectory = {
        // A static is never given back, so its files are removed here.
        atexit { try? FileManager.default.removeItem(atPath: Place.root.path) }
        return TemporaryDirectory()
    }()

    func spec(_ device: DeviceBinding? = nil) throws -> VirtualMachineSpec {
        let disk = try BackingFile.prepare(path: directory.path + "/disk.img", size: 16 << 20, for: .nvme)
        try directory.write("", to: "initrd")
        return VirtualMachineSpec(
            name: "drover-test", memoryMiB: 128, kernel: try TestKernel.path(cache: MachineTests.cache), initrd: directory.path + "/initrd",
            commandLine: "console=ttyS0 panic=0", device: device ?? .emulated(.nvme, backingFile: disk.path),
            consoleLog: directory.path + "/console.log")
    }

    func waitForConsole(_ text: String) async throws {
        let end = ContinuousClock.now + .seconds(120)
        while ContinuousClock.now < end {
            if ConsoleLog.tail(path: directory.path + "/console.log", lines: 200).contains(where: { $0.contains(text) }) { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        Issue.record("the console never said \(text)")
    }
}

/// A stock kernel to boot, of this suite's own: one from an image may be lean, and tells of its panic instead of rebooting.
enum TestKernel {
    static func path(cache: String) throws -> String {
        let manager = FileManager.default
        let place = cache + "/test-kernel"
        if let kernel = unpacked(place) { return kernel }
        try manager.createDirectory(atPath: place, withIntermediateDirectories: true)
        let script = """
            set -e
            package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -1)
            apt-get download -qq -o APT::Sandbox::User=root "$package"
            dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x --wildcards './boot/vmlinuz-*'
            rm -f ./*.deb
            """
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script]
        process.currentDirectoryURL = URL(fileURLWithPath: place)
        try process.run()
        process.waitUntilExit()
        return try #require(unpacked(place), "no kernel could be downloaded")
    }

    private static func unpacked(_ place: String) -> String? {
        ((try? FileManager.default.contentsOfDirectory(atPath: place + "/boot")) ?? []).first { $0.hasPrefix("vmlinuz-") }
            .map { place + "/boot/" + $0 }
    }
}
