import Foundation

/// The libvirt description of one life of a DD/OS.
///
/// The machine is as small as q35 gets: no USB, no sound, no graphics, no network, no balloon, no i8042, no SATA controller beside the one
/// that may be asked for. What libvirt 9.0 has no element for goes to QEMU by `<qemu:commandline>`.
///
/// ```
/// PCI slot  device                                     who places it
/// 0x10      the device: emulated, or passed through    here; the server stub offers only disks below it
/// 0x11      pvpanic-pci                                here
/// 0x12      vhost-user-vsock-pci                       here
/// 0x1f.0    ISA bridge: serial port                    q35
/// ```
struct DomainXML {
    static let deviceSlot = 0x10
    static let panicSlot = 0x11
    static let vsockSlot = 0x12

    /// In kernels' and libvirt's limits; also keeps the paths that libvirt makes of it short.
    static let longestName = 48

    private let spec: VirtualMachineSpec
    private let emulator: String

    /// Checks what has to hold before anything is asked of libvirt.
    init(_ spec: VirtualMachineSpec, emulator: String) throws(HypervisorError) {
        self.spec = spec
        self.emulator = emulator
        guard Self.isName(spec.name) else {
            throw .invalidSpec(
                machine: spec.name,
                reason: "a name is 1 to \(Self.longestName) letters, digits, '_', '-' or '.', and begins with a letter or digit")
        }
        guard (16...1 << 20).contains(spec.memoryMiB) else {
            throw .invalidSpec(machine: spec.name, reason: "the memory has to be between 16 MiB and 1 TiB, not \(spec.memoryMiB) MiB")
        }
        guard (1...64).contains(spec.vcpus) else {
            throw .invalidSpec(machine: spec.name, reason: "the number of vCPUs has to be between 1 and 64, not \(spec.vcpus)")
        }
        if let socket = spec.vsockSocket, socket.utf8.count > UnixPath.limit {
            throw .pathTooLong(path: socket, limit: UnixPath.limit)
        }
        if case .pci(let address) = spec.device, PCIAddress(address) == nil {
            throw .invalidSpec(machine: spec.name, reason: "'\(address)' is not a PCI address such as 0000:01:00.0")
        }
    }

    static func isName(_ text: String) -> Bool {
        func plain(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: false
            }
        }
        guard let first = text.utf8.first, plain(first), text.utf8.count <= longestName else { return false }
        return text.utf8.allSatisfy { plain($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    }

    /// The document.
    var text: String {
        """
        <domain type='\(spec.accelerator == .kvm ? "kvm" : "qemu")' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
          <name>\(Escaping.xml(spec.name))</name>
          <uuid>\(spec.uuid.uuidString.lowercased())</uuid>
          <memory unit='MiB'>\(spec.memoryMiB)</memory>
          <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
          <vcpu placement='static' current='\(spec.vcpus)'>\(possibleProcessors)</vcpu>
          <os>
            <type arch='x86_64' machine='q35'>hvm</type>
            <kernel>\(Escaping.xml(spec.kernel))</kernel>
            <initrd>\(Escaping.xml(spec.initrd))</initrd>
            <cmdline>\(Escaping.xml(spec.commandLine))</cmdline>
          </os>
          <features><acpi/><apic/><vmport state='off'/></features>
        \(processor)\
          <clock offset='utc'><timer name='hpet' present='no'/></clock>
          <on_poweroff>destroy</on_poweroff>
          <on_reboot>destroy</on_reboot>
          <on_crash>preserve</on_crash>
          <devices>
            <emulator>\(Escaping.xml(emulator))</emulator>
            <controller type='usb' model='none'/>
            <controller type='pci' index='0' model='pcie-root'/>
            <memballoon model='none'/>
            <serial type='file'>
              <source path='\(Escaping.xml(spec.consoleLog))' append='on'/>
              <target type='isa-serial' port='0'/>
            </serial>
        \(passthrough)\
          </devices>
          <qemu:commandline>
        \(arguments.map { "    <qemu:arg value='\(Escaping.xml($0))'/>\n" }.joined())\
          </qemu:commandline>
        </domain>

        """
    }

    /// Under KVM the guest sees the host's processor: it never migrates. Under TCG QEMU's default: fewer features cost less to translate.
    private var processor: String {
        spec.accelerator == .kvm ? "  <cpu mode='host-passthrough' migratable='off'/>\n" : ""
    }

    /// QEMU's translator leaves memory fences out when a machine can have one vCPU only. But devices run in other threads and read the guest's
    /// memory at the same time: NVMe shadow doorbells and virtqueues lose wake-ups then. A place for a second vCPU, left empty, brings them back.
    private var possibleProcessors: Int { spec.accelerator == .tcg ? max(2, spec.vcpus) : spec.vcpus }

    private var passthrough: String {
        guard case .pci(let address) = spec.device, let host = PCIAddress(address) else { return "" }
        return """
                <hostdev mode='subsystem' type='pci' managed='yes'>
                  <driver name='vfio'/>
                  <source>\(host.xml)</source>
                  \(PCIAddress(domain: 0, bus: 0, slot: UInt8(Self.deviceSlot), function: 0).xml(type: "pci"))
                </hostdev>

            """
    }

    /// QEMU's own arguments, past libvirt's model.
    var arguments: [String] {
        var list = [
            // Merged by QEMU into the -machine of libvirt's.
            "-machine", "sata=off,smbus=off,i8042=off",
            "-device", "pvpanic-pci,bus=pcie.0,addr=0x\(String(Self.panicSlot, radix: 16))",
        ]
        if case .emulated(let model, let file) = spec.device {
            // aio=threads, not io_uring: the kernel finishes a dead process's io_uring writes after the process is reaped, but a thread in
            // pwrite(2) has to return before it can exit. So "reaped" means that no write of the old life is still to land.
            list += [
                "-blockdev",
                "{\"driver\":\"file\",\"filename\":\(Escaping.json(file)),\"node-name\":\"file0\",\"aio\":\"threads\",\"discard\":\"unmap\"}",
                "-blockdev",
                "{\"driver\":\"raw\",\"file\":\"file0\",\"node-name\":\"disk0\",\"discard\":\"unmap\"}",
            ]
            for device in model.devices(slot: Self.deviceSlot, drive: "disk0", serial: serial) { list += ["-device", device] }
        }
        if let socket = spec.vsockSocket {
            list += [
                "-chardev", "socket,id=vsock0,path=\(Escaping.qemuOption(socket))",
                "-device", "vhost-user-vsock-pci,chardev=vsock0,bus=pcie.0,addr=0x\(String(Self.vsockSlot, radix: 16))",
            ]
        }
        return list
    }

    /// At most 20 characters, which is what virtio-blk and ATA have room for.
    private var serial: String { String(spec.name.prefix(20)) }
}
