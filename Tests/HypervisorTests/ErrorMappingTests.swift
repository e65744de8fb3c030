import Foundation
import Testing

@testable import Hypervisor

@Suite struct ErrorMappingTests {
    private func start(_ message: String, log: [String] = [], _ change: (inout VirtualMachineSpec) -> Void = { _ in }) -> HypervisorError {
        ErrorMapping.starting(
            LibvirtError(code: 1, message: message), spec: DomainXMLTests.spec().with(change), log: log)
    }

    @Test func lockedBackingFileIsABusyDevice() {
        let line =
            "2026-11-21T09:04:56.123456Z qemu-system-x86_64: -device nvme,id=device0,drive=disk0: Failed to get \"write\" lock"
        let error = start("internal error: process exited while connecting to monitor: " + line, log: [line])
        #expect(error == .deviceBusy(machine: "nvme0", detail: "Failed to get \"write\" lock"))
        #expect(error.remedy != nil)
    }

    @Test func stubThatDoesNotListenIsNamed() {
        let error = start(
            "x", log: ["qemu-system-x86_64: -chardev socket,id=vsock0,path=/s: Failed to connect to '/s': Connection refused"]
        ) {
            $0.vsockSocket = "/s"
        }
        #expect(error == .vsockUnavailable(machine: "nvme0", detail: "Failed to connect to '/s': Connection refused"))
    }

    @Test func passthroughWithoutIOMMUSaysWhatToTurnOn() {
        let error = start("unsupported configuration: host doesn't support passthrough of host PCI devices") {
            $0.device = .pci(PCIPlace(domain: 0, bus: 1, slot: 0, function: 0))
        }
        #expect(error == .deviceUnavailable(machine: "nvme0", detail: "host doesn't support passthrough of host PCI devices"))
        #expect(error.remedy?.contains("IOMMU") == true)
    }

    @Test func aHostWithoutControlGroupsKeepsNoLimits() {
        let error = start("unsupported configuration: cgroup CPU is required for scheduler tuning") { $0.cpuLimit = 0.5 }
        #expect(error == .limitUnavailable(machine: "nvme0", detail: "cgroup CPU is required for scheduler tuning"))
        #expect(error.remedy?.contains("limits") == true)
    }

    @Test func groupInUseIsABusyDevice() {
        let error = start("x", log: ["qemu-system-x86_64: -device vfio-pci: failed to open /dev/vfio/6: Device or resource busy"]) {
            $0.device = .pci(PCIPlace(domain: 0, bus: 1, slot: 0, function: 0))
        }
        #expect(error == .deviceBusy(machine: "nvme0", detail: "failed to open /dev/vfio/6: Device or resource busy"))
    }

    @Test func kvmThatAbortsIsNoAccelerator() {
        let error = start("x", log: ["qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `x' failed."]) {
            $0.accelerator = .kvm
        }
        guard case .acceleratorUnavailable = error else {
            Issue.record("\(error)")
            return
        }
    }

    @Test func secondStartIsToldApart() {
        #expect(start("operation failed: domain 'nvme0' already exists with uuid 1") == .alreadyRunning(machine: "nvme0"))
    }

    @Test func rootOfAnotherSupervisorIsNamedWithItsProcess() {
        let error = ErrorMapping.opening(
            LibvirtError(code: 1, message: "Failed to acquire pid file '/r/run/qemu/driver.pid': Resource temporarily unavailable"),
            root: "/r",
            holder: 7)
        #expect(error == .rootInUse(root: "/r", pid: 7))
        #expect(error.description == "The directory /r is in use by another supervisor (process 7).")
    }

    @Test func commandLineAndWarningsAreNotTheReason() {
        let log = """
            2026-11-21 09:04:20.654+0000: starting up libvirt version: 9.0.0
            LC_ALL=C \\
            /usr/bin/qemu-system-x86_64 \\
            -name guest=nvme0,debug-threads=on \\
            2026-11-21T09:04:56.1Z qemu-system-x86_64: warning: host doesn't support requested feature
            2026-11-21T09:04:56.2Z qemu-system-x86_64: -blockdev {"driver":"file"}: Could not open '/f': Permission denied
            2026-11-21T09:04:57.2Z qemu-system-x86_64: terminating on signal 15 from pid 1
            """
        #expect(EmulatorLog.words(in: log).map(ErrorMapping.stripped) == ["Could not open '/f': Permission denied"])
    }

    @Test func theLastWordsAreThoseOfTheLifeThatIsAskedFor() throws {
        let earlier = try #require(UUID(uuidString: "01020304-0506-0708-090a-0b0c0d0e0f10"))
        let later = try #require(UUID(uuidString: "11121314-1516-1718-191a-1b1c1d1e1f20"))
        let log = """
            /usr/bin/qemu-system-x86_64 \\
            -uuid \(earlier.uuidString.lowercased()) \\
            2026-11-21T09:04:56.2Z qemu-system-x86_64: vfio: Unable to power on device
            2026-11-21 09:05:00.000+0000: shutting down, reason=crashed
            /usr/bin/qemu-system-x86_64 \\
            -uuid \(later.uuidString.lowercased()) \\

            """
        #expect(EmulatorLog.lastWords(in: log, ofLife: later) == nil)
        #expect(EmulatorLog.lastWords(in: String(log.prefix(300)), ofLife: earlier) == "vfio: Unable to power on device")
        #expect(EmulatorLog.lastWords(in: log, ofLife: UUID()) == nil)
    }

    @Test func errorsAreSentences() {
        let errors: [HypervisorError] = [
            .missingAccount(name: "libvirt-qemu"), .missingEmulator("/q"), .insufficientMemory(machine: "m", detail: "d"),
            .diskFull(path: "/d", needed: 3 << 30, available: 1536 << 20), .timedOut(machine: "m", operation: "starting", seconds: 30),
            .system(operation: "open", path: "/x", errno: ENOENT),
        ]
        for error in errors {
            #expect(error.description.hasSuffix("."))
            #expect(!error.description.contains("HypervisorError"))
        }
        #expect(errors[3].description == "The disk is full: /d needs 3 GiB, and 1.5 GiB are free.")
        #expect(errors[5].description == "Could not open /x: No such file or directory.")
    }
}
