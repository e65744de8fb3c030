/// A NIC that QEMU can emulate: for demonstrations and tests without a NIC to spare.
///
/// The raw value is what the configuration says (`emulated: e1000e`): the name of the Linux driver. Everything here was found by booting
/// Debian's 6.1 kernel on QEMU 7.2.
///
/// `ne2k_pci` is not among them, because it stops receiving for good. Its driver takes at most nine frames from the ring and then acknowledges
/// the interrupt, whatever is left; QEMU's model refuses frames while the ring is full, and never raises the overrun interrupt (`ENISR_OVER`) that
/// makes the driver look again. When the ring is full at that moment, nothing ever wakes the driver up, and so the ring stays full.
public enum NetworkModel: String, Sendable, Codable, CaseIterable {
    case e1000e
    case e1000
    case pcnet32
    case rtl8139 = "8139cp"
    case e100
    case vmxnet3
    case virtioNet = "virtio_net"
    case tulip

    /// The NIC's PCI modalias as the guest's kernel prints it: input to the image builder.
    public var modalias: String {
        switch self {
        case .e1000e: "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00"
        case .e1000: "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"
        case .pcnet32: "pci:v00001022d00002000sv00000000sd00000000bc02sc00i00"
        case .rtl8139: "pci:v000010ECd00008139sv00001AF4sd00001100bc02sc00i00"
        case .e100: "pci:v00008086d00001209sv00000000sd00000000bc02sc00i00"
        case .vmxnet3: "pci:v000015ADd000007B0sv000015ADsd000007B0bc02sc00i00"
        case .virtioNet: "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00"
        case .tulip: "pci:v00001011d00000019sv0000103Csd0000104Fbc02sc00i00"
        }
    }

    /// Modules that no PCI modalias leads to.
    public var extraModules: [String] { self == .virtioNet ? ["virtio_net"] : [] }

    /// What a person calls it.
    public var title: String {
        switch self {
        case .e1000e: "Intel 82574L"
        case .e1000: "Intel 82540EM"
        case .pcnet32: "AMD PCnet"
        case .rtl8139: "Realtek RTL8139C+"
        case .e100: "Intel 82559ER"
        case .vmxnet3: "VMware vmxnet3"
        case .virtioNet: "virtio network device"
        case .tulip: "DEC 21143"
        }
    }

    /// Bytes of payload that the driver takes at most with this model.
    public var largestMTU: Int {
        switch self {
        case .e1000e: 9216
        case .e1000: 16110
        case .vmxnet3: 9190
        case .virtioNet: 65535
        case .rtl8139: 4096
        case .pcnet32, .e100, .tulip: 1500
        }
    }
}

/// An emulated NIC, and where its cable leads.
public struct EmulatedNIC: Sendable, Equatable {
    public var model: NetworkModel
    /// A TAP device of the host that exists. libvirt opens it and hands it to the VMM, which may open nothing itself.
    public var tap: String
    /// `52:54:00:12:34:56`: the NIC's own address.
    public var mac: String

    public init(model: NetworkModel, tap: String, mac: String) {
        self.model = model
        self.tap = tap
        self.mac = mac
    }
}

// MARK: QEMU

extension NetworkModel {
    /// QEMU's name of the device.
    var device: String {
        switch self {
        case .e1000e: "e1000e"
        case .e1000: "e1000"
        case .pcnet32: "pcnet"
        case .rtl8139: "rtl8139"
        case .e100: "i82559er"
        case .vmxnet3: "vmxnet3"
        case .virtioNet: "virtio"
        case .tulip: "tulip"
        }
    }
}
