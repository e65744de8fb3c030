import Foundation

/// The libvirt description of one life of a DD/OS.
///
/// The machine is as small as q35 gets: no USB, no sound, no graphics, no balloon, no i8042, no SATA controller or NIC beside the one that
/// may be asked for. What libvirt 9.0 has no element for goes to QEMU by `<qemu:commandline>`.
///
/// ```
/// PCI slot  device                                     who places it
/// 0x10      the device: emulated, or passed through    here; the server stub offers only disks below it
/// 0x11      pvpanic-pci                                here
/// 0x12      vhost-user-vsock-pci                       here
/// 0x13      virtio-net-pci, the way to the host's      here, in a network DD/OS
///           interface
/// 0x1f.0    ISA bridge: serial port                    q35
/// ```
struct DomainXML {
    static let deviceSlot = 0x10
    private static let guestPlace = PCIPlace(domain: 0, bus: 0, slot: UInt8(deviceSlot), function: 0)
    static let panicSlot = 0x11
    static let vsockSlot = 0x12
    static let channelSlot = 0x13

    /// In kernels' and libvirt's limits; also keeps the paths that libvirt makes of it short.
    static let longestName = 48

    private let spec: VirtualMachineSpec
    private let emulator: String
    private let mark: String

    /// Checks what has to hold before anything is asked of libvirt. `mark`: an element that tells whose the machine is.
    init(_ spec: VirtualMachineSpec, emulator: String, mark: String) throws(HypervisorError) {
        self.spec = spec
        self.mark = mark
        self.emulator = emulator
        guard Self.isName(spec.name) else {
            throw .invalidSpec(
                machine: spec.name,
                reason: "a name is 1 to \(Self.longestName) letters, digits, '_', '-' or '.', and begins with a letter or digit")
        }
        guard (16...1 << 20).contains(spec.memoryMiB) else {
            throw .invalidSpec(machine: spec.name, reason: "the memory has to be between 16 MiB and 1 TiB, not \(spec.memoryMiB) MiB")
        }
        if let cpu = spec.cpuLimit, !(0.01...10000).contains(cpu) {
            throw .invalidSpec(machine: spec.name, reason: "a limit of \(cpu) CPUs cannot be kept")
        }
        guard (1...64).contains(spec.vcpus) else {
            throw .invalidSpec(machine: spec.name, reason: "the number of vCPUs has to be between 1 and 64, not \(spec.vcpus)")
        }
        for socket in [spec.vsockSocket, spec.packets?.socket].compactMap(\.self) where socket.utf8.count > UnixPath.limit {
            throw .pathTooLong(path: socket, limit: UnixPath.limit)
        }
        if case .pci(let place) = spec.device, !place.isPossible {
            throw .invalidSpec(machine: spec.name, reason: "there is no PCI slot \(place.slot), function \(place.function)")
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
          <metadata>\(mark)</metadata>
          <memory unit='MiB'>\(spec.memoryMiB)</memory>
          <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
        \(limits)\
          <vcpu placement='static' current='\(spec.vcpus)'>\(possibleProcessors)</vcpu>
          <os>
            <type arch='x86_64' machine='q35'>hvm</type>
            <kernel>\(Escaping.xml(spec.kernel))</kernel>
            <initrd>\(Escaping.xml(spec.initrd))</initrd>
            <cmdline>\(Escaping.xml(spec.commandLine))</cmdline>
          </os>
          <features><acpi/><apic/><vmport state='off'/></features>
        \(processor)\
          <clock offset='utc'><timer name='hpet' present='\(spec.timer == .hpet ? "yes" : "no")'/></clock>
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
        \(passthrough)\(nic)\
          </devices>
          <qemu:commandline>
        \(arguments.map { "    <qemu:arg value='\(Escaping.xml($0))'/>\n" }.joined())\
          </qemu:commandline>
        \(capabilities)\
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

    /// A virtual machine's start is a pause of its clients, and libvirt would spend half of its own part in it on asking QEMU for each of some 300
    /// features of the processor by name, to report what it made of them. Without this capability it asks for all of them at once.
    private var capabilities: String {
        "  <qemu:capabilities><qemu:del capability='cpu-unavailable-features'/></qemu:capabilities>\n"
    }

    /// CFS quota a period of 100 ms. The memory's limit is set when the machine runs: written here, libvirt would raise the VMM's limit of
    /// locked memory too, which not even root may in some containers.
    private var limits: String {
        guard let cpu = spec.cpuLimit else { return "" }
        return "  <cputune><global_period>100000</global_period><global_quota>\(Int(cpu * 100_000))</global_quota></cputune>\n"
    }

    /// Not managed: the supervisor has bound the device to vfio-pci, and keeps it there from life to life. vfio-pci resets it when it is opened
    /// and when it is closed, by the first of the kernel's methods that works (FLR, PM, bus). Its ROM is firmware for the host: the guest needs none.
    private var passthrough: String {
        guard case .pci(let host) = spec.device else { return "" }
        return """
                <hostdev mode='subsystem' type='pci' managed='no'>
                  <driver name='vfio'/>
                  <source>\(host.xml)</source>
                  <rom enabled='no'/>
                  \(Self.guestPlace.xml(type: "pci"))
                </hostdev>

            """
    }

    /// libvirt's element and not QEMU's own argument: so libvirt opens the TAP device, and the VMM needs neither /dev/net/tun nor the right to
    /// configure networks.
    private var nic: String {
        guard case .emulatedNIC(let nic) = spec.device else { return "" }
        return """
                <interface type='ethernet'>
                  <mac address='\(Escaping.xml(nic.mac))'/>
                  <target dev='\(Escaping.xml(nic.tap))' managed='no'/>
                  <model type='\(nic.model.device)'/>
                  <rom enabled='no'/>
                  \(Self.guestPlace.xml(type: "pci"))
                </interface>

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
        if let packets = spec.packets {
            // Between the client stub and the guest. The rings are as large as QEMU makes them: a burst waits in them, not in a sender.
            let pairs = packets.queuePairs
            // QEMU 7.2's TCG dies (of a null pointer) of MSI-X interrupts of a vhost-user network device: there it gets the one on the wire.
            let vectors = spec.accelerator == .tcg ? 0 : 2 * pairs + 2
            let multiqueue = (pairs > 1 ? ",mq=on" : "") + ",vectors=\(vectors)"
            list += [
                "-chardev", "socket,id=net0,path=\(Escaping.qemuOption(packets.socket))",
                "-netdev", "vhost-user,id=host0,chardev=net0,queues=\(pairs)",
                "-device",
                "virtio-net-pci,netdev=host0,bus=pcie.0,addr=0x\(String(Self.channelSlot, radix: 16)),rx_queue_size=1024,tx_queue_size=1024"
                    + "\(multiqueue),romfile=",
            ]
        }
        return list
    }

    /// At most 20 characters, which is what virtio-blk and ATA have room for.
    private var serial: String { String(spec.name.prefix(20)) }
}
