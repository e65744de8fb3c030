import Foundation
import Testing

@testable import Hypervisor

@Suite struct DomainXMLTests {
    static func spec(_ device: DeviceBinding = .none, name: String = "nvme0") -> VirtualMachineSpec {
        VirtualMachineSpec(
            name: name, uuid: UUID(uuid: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)), memoryMiB: 128, kernel: "/k/vmlinux",
            initrd: "/k/initrd", commandLine: "console=ttyS0", device: device, consoleLog: "/r/console.log")
    }

    private func text(_ spec: VirtualMachineSpec) throws -> String {
        try DomainXML(spec, emulator: "/usr/bin/qemu-system-x86_64", mark: "<m/>").text
    }

    @Test func machineIsExactlyThis() throws {
        #expect(
            try text(Self.spec()) == """
                <domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
                  <name>nvme0</name>
                  <uuid>01020304-0506-0708-090a-0b0c0d0e0f10</uuid>
                  <metadata><m/></metadata>
                  <memory unit='MiB'>128</memory>
                  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
                  <vcpu placement='static' current='1'>2</vcpu>
                  <os>
                    <type arch='x86_64' machine='q35'>hvm</type>
                    <kernel>/k/vmlinux</kernel>
                    <initrd>/k/initrd</initrd>
                    <cmdline>console=ttyS0</cmdline>
                  </os>
                  <features><acpi/><apic/><vmport state='off'/></features>
                  <clock offset='utc'><timer name='hpet' present='no'/></clock>
                  <on_poweroff>destroy</on_poweroff>
                  <on_reboot>destroy</on_reboot>
                  <on_crash>preserve</on_crash>
                  <devices>
                    <emulator>/usr/bin/qemu-system-x86_64</emulator>
                    <controller type='usb' model='none'/>
                    <controller type='pci' index='0' model='pcie-root'/>
                    <memballoon model='none'/>
                    <serial type='file'>
                      <source path='/r/console.log' append='on'/>
                      <target type='isa-serial' port='0'/>
                    </serial>
                  </devices>
                  <qemu:commandline>
                    <qemu:arg value='-machine'/>
                    <qemu:arg value='sata=off,smbus=off,i8042=off'/>
                    <qemu:arg value='-device'/>
                    <qemu:arg value='pvpanic-pci,bus=pcie.0,addr=0x11'/>
                  </qemu:commandline>
                  <qemu:capabilities><qemu:del capability='cpu-unavailable-features'/></qemu:capabilities>
                </domain>

                """)
    }

    @Test func aMachineHasTheTimerThatItsKernelIsToldOf() throws {
        // KVM tells a kernel how fast the processor's own timer runs; a kernel with several CPUs needs a timer for each.
        for (accelerator, isUniprocessor) in [(Accelerator.kvm, true), (.kvm, false), (.tcg, false)] {
            #expect(GuestTimer(accelerator, isUniprocessor: isUniprocessor) == .localAPIC)
        }
        let timer = GuestTimer(.tcg, isUniprocessor: true)
        #expect(timer.kernelParameters == ["noapictimer"])
        #expect(GuestTimer.localAPIC.kernelParameters == [])
        #expect(try text(Self.spec().with { $0.timer = timer }).contains("<timer name='hpet' present='yes'/>"))
        #expect(try text(Self.spec()).contains("<timer name='hpet' present='no'/>"))
    }

    @Test func limitsAreOfTheWholeMachine() throws {
        var spec = Self.spec()
        spec.cpuLimit = 0.5
        spec.memoryLimitMiB = 512
        let document = try text(spec)
        #expect(document.contains("<cputune><global_period>100000</global_period><global_quota>50000</global_quota></cputune>"))
        spec.cpuLimit = .infinity
        #expect(throws: HypervisorError.self) { try text(spec) }
    }

    @Test func noValueLeavesItsPlace() throws {
        let evil = "/a'/><x y=\"z\">&\n]]>\u{1}"
        var spec = Self.spec(.emulated(.nvme, backingFile: evil))
        spec.kernel = evil
        spec.initrd = evil
        spec.commandLine = evil
        spec.consoleLog = evil
        spec.vsockSocket = evil
        let text = try text(spec)
        let plain = try self.text(Self.spec(.emulated(.nvme, backingFile: "/f")).with { $0.vsockSocket = "/s" })
        // The document has the same elements as with harmless values.
        #expect(text.filter { $0 == "<" }.count == plain.filter { $0 == "<" }.count)
        #expect(text.filter { $0 == "'" }.count == plain.filter { $0 == "'" }.count)
        #expect(!text.contains("<x"))
        #expect(!text.contains("\u{1}"))
    }

    @Test func commaInAPathDoesNotEndAnOption() throws {
        let spec = Self.spec().with { $0.vsockSocket = "/r,server=on/v.sock" }
        let arguments = try DomainXML(spec, emulator: "/q", mark: "").arguments
        #expect(arguments.contains("socket,id=vsock0,path=/r,,server=on/v.sock"))
    }

    @Test func jsonStringHoldsAnyPath() {
        #expect(Escaping.json("a\"b\\c\n\u{1}é") == "\"a\\\"b\\\\c\\u000a\\u0001é\"")
    }

    @Test func passthroughSitsInTheDevicesSlot() throws {
        let text = try text(Self.spec(.pci(PCIPlace(domain: 0, bus: 1, slot: 0, function: 1))))
        #expect(text.contains("<source><address domain='0x0' bus='0x1' slot='0x0' function='0x1'/></source>"))
        #expect(text.contains("<address type='pci' domain='0x0' bus='0x0' slot='0x10' function='0x0'/>"))
        #expect(text.contains("managed='no'"))
        #expect(text.contains("<rom enabled='no'/>"))
    }

    @Test(arguments: DeviceModel.allCases) func everyModelSitsInTheDevicesSlot(model: DeviceModel) throws {
        let arguments = try DomainXML(Self.spec(.emulated(model, backingFile: "/f")), emulator: "/q", mark: "").arguments
        #expect(arguments.contains { $0.contains("id=device0,bus=pcie.0,addr=0x10") })
        #expect(model.modalias.hasPrefix("pci:v0000"))
    }

    @Test(arguments: DeviceModel.allCases) func anErrorOfTheHostsFileReachesTheGuestInsteadOfStoppingIt(model: DeviceModel) {
        let disk = model.devices(slot: 0x10, drive: "disk0", serial: "s").last ?? ""
        // QEMU's nvme and sd-card have no such property: they always report.
        let takesIt = model != .nvme && model != .sdhci
        #expect(disk.hasSuffix(",werror=report,rerror=report") == takesIt)
    }

    @Test func kvmGetsTheHostsProcessor() throws {
        let text = try text(Self.spec().with { $0.accelerator = .kvm })
        #expect(text.hasPrefix("<domain type='kvm'"))
        #expect(text.contains("mode='host-passthrough'"))
    }

    @Test(arguments: ["", "-a", "a b", "a/b", "a,b", "ä", "a'", String(repeating: "a", count: 49)])
    func wrongNameIsRefused(name: String) {
        #expect(throws: HypervisorError.self) { try DomainXML(Self.spec(name: name), emulator: "/q", mark: "") }
    }

    @Test(arguments: [PCIPlace(domain: 0, bus: 1, slot: 32, function: 0), PCIPlace(domain: 0, bus: 1, slot: 0, function: 8)])
    func aPlaceThatCannotBeIsRefused(place: PCIPlace) {
        #expect(throws: HypervisorError.self) { try DomainXML(Self.spec(.pci(place)), emulator: "/q", mark: "") }
    }

    @Test func socketPathThatDoesNotFitIsNamed() {
        let path = "/" + String(repeating: "x", count: 107)
        #expect(throws: HypervisorError.pathTooLong(path: path, limit: 107)) {
            try DomainXML(Self.spec().with { $0.vsockSocket = path }, emulator: "/q", mark: "")
        }
    }
}

extension VirtualMachineSpec {
    func with(_ change: (inout VirtualMachineSpec) -> Void) -> VirtualMachineSpec {
        var copy = self
        change(&copy)
        return copy
    }
}
