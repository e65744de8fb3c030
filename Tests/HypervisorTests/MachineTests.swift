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

/// One test's run directory and disk.
private final class Place {
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

    func spec() throws -> VirtualMachineSpec {
        let disk = try BackingFile.prepare(path: directory.path + "/disk.img", size: 16 << 20, for: .nvme)
        try directory.write("", to: "initrd")
        return VirtualMachineSpec(
            name: "drover-test", memoryMiB: 128, kernel: try TestKernel.path(cache: MachineTests.cache), initrd: directory.path + "/initrd",
            commandLine: "console=ttyS0 panic=0", device: .emulated(.nvme, backingFile: disk.path),
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

/// A stock kernel to boot.
enum TestKernel {
    static func path(cache: String) throws -> String {
        let manager = FileManager.default
        for image in (try? manager.contentsOfDirectory(atPath: cache + "/images")) ?? [] {
            let kernel = "\(cache)/images/\(image)/vmlinux"
            if manager.isReadableFile(atPath: kernel) { return kernel }
        }
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
