import Foundation
import Testing

@testable import Hypervisor

@Suite struct AcceleratorTests {
    @Test func softwareKVMIsNotUsedThoughItOpens() {
        let choice = Accelerator.choose(
            AcceleratorSignals(device: .open(systemManagementMode: false), softwareModule: "kvm_pvm"))
        #expect(choice.accelerator == .tcg)
        #expect(choice.reason.contains("kvm_pvm"))
    }

    @Test func processorWithoutVirtualizationIsNotUsed() {
        let choice = Accelerator.choose(AcceleratorSignals(device: .open(systemManagementMode: true)))
        #expect(choice.accelerator == .tcg)
        #expect(choice.reason.contains("vmx"))
    }

    @Test func kvmWithoutSystemManagementModeIsNotUsed() {
        let choice = Accelerator.choose(
            AcceleratorSignals(device: .open(systemManagementMode: false), virtualizationFlag: "vmx", hardwareModule: "kvm_intel"))
        #expect(choice.accelerator == .tcg)
        #expect(choice.reason.contains("KVM_CAP_X86_SMM"))
    }

    @Test func hardwareKVMIsUsed() {
        let choice = Accelerator.choose(
            AcceleratorSignals(device: .open(systemManagementMode: true), virtualizationFlag: "svm", hardwareModule: "kvm_amd"))
        #expect(choice.accelerator == .kvm)
        #expect(choice.reason.contains("svm, kvm_amd"))
    }

    @Test func deviceThatDoesNotOpenIsNamedWithItsReason() {
        let choice = Accelerator.choose(AcceleratorSignals(device: .closed(errno: EACCES)))
        let objection = "/dev/kvm cannot be opened (Permission denied)"
        #expect(
            choice
                == AcceleratorChoice(
                    accelerator: .tcg, reason: "KVM is not used, QEMU translates instead: \(objection).", objection: objection))
    }

    @Test func signalsAreReadFromAMadeUpMachine() throws {
        let root = TemporaryDirectory()
        try root.write("processor : 0\nflags\t\t: fpu svm sse\n", to: "proc/cpuinfo")
        try root.write("", to: "sys/module/kvm_amd/refcnt")
        try root.write("", to: "sys/module/kvm_pvm/refcnt")
        #expect(
            AcceleratorSignals.read(root: root.path)
                == AcceleratorSignals(device: .missing, softwareModule: "kvm_pvm", virtualizationFlag: "svm", hardwareModule: "kvm_amd"))
        // A plain file is no KVM: the ioctl fails.
        try root.write("", to: "dev/kvm")
        #expect(AcceleratorSignals.read(root: root.path).device == .open(systemManagementMode: false))
    }
}
