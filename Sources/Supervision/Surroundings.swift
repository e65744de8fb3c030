import Accounting
import DroverConfiguration
import Foundation
import Hypervisor
import ImageBuilder

/// The virtual machines as a runner sees them; ``Hypervisor`` is one, tests bring their own.
protocol VirtualMachines: Sendable {
    func start(_ spec: VirtualMachineSpec, deadline: Duration) async throws(HypervisorError) -> Int32
    /// Returns only when the VMM is gone and reaped.
    func destroy(_ name: String, deadline: Duration) async throws(HypervisorError)
    func running() async throws(HypervisorError) -> [RunningMachine]
    func injectNMI(_ name: String) async throws(HypervisorError)
    /// After a panic: lets the guest print why.
    func finishPanic(_ name: String, consoleLog: String) async
}

extension Hypervisor: VirtualMachines {
    func finishPanic(_ name: String, consoleLog: String) async {
        await finishPanic(name, consoleLog: consoleLog, limit: .milliseconds(600))
    }
}

/// What one start of a VM needs of the image builder and the host's disks and devices.
struct PreparedDevice: Sendable, Equatable {
    var image: BuiltImage
    var binding: MachineBinding
    /// What was done to have the device; nil when there was nothing to do.
    var taken: String?
}

/// Makes an image and a device ready. `ImagePreparation` is the real one.
protocol DevicePreparation: Sendable {
    func prepare(_ configuration: DDOSConfiguration, progress: @escaping @Sendable (String) -> Void) async throws -> PreparedDevice
    /// Of a DD/OS that is stopped for good: its VM is gone. Returns what was done, in words.
    func giveBack(_ configuration: DDOSConfiguration) async throws -> String?
}

extension DevicePreparation {
    func giveBack(_ configuration: DDOSConfiguration) async throws -> String? { nil }
}

/// Everything around a runner.
struct Surroundings: Sendable {
    var run: RunDirectory
    var cacheDirectory: String
    /// Runs `drover-client-stub` with these arguments and this log.
    var spawnStub: @Sendable (_ arguments: [String], _ log: String) throws(SupervisionError) -> ProcessIdentity
    var accelerator: Accelerator
    var machines: any VirtualMachines
    var devices: any DevicePreparation
    var log: EventLog
    var logLevel: String
    /// Seconds that a client stub may be silent. Long: it holds its clients' requests, and on a busy machine whoever cuts it off does the
    /// harm.
    var stubPatience = 20.0
    var now: @Sendable () -> Moment = { .now }
}

extension Moment {
    static var now: Moment {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(monotonic: Double(time.tv_sec) + Double(time.tv_nsec) / 1e9, wall: Date())
    }
}
