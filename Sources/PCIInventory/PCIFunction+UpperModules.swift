extension PCIFunction {
    /// Modules that a DD/OS for this function needs and that no PCI modalias leads to: what makes a disk of what the controller's driver finds, and
    /// what a network card's packets take to the host. By the function's class, but for virtio, whose driver of the class is on a bus of its own.
    public var upperModules: [String] {
        (vendor == 0x1af4 ? Self.virtioModules(device: device) : nil) ?? Self.upperModules(classCode: classCode)
    }

    /// What any DD/OS for a network card needs: its way to the host, and what its kernel forwards packets with.
    public static let networkModules = ["virtio_net", "sch_ingress", "cls_matchall", "act_mirred"]

    /// A card's own, the way to the host, and what forwards between the two.
    public static func networkModules(with own: [String]) -> [String] { own + networkModules.filter { !own.contains($0) } }

    /// Of a transitional or a modern virtio device (Virtual I/O Device 1.2, sections 4.1.2 and 5). Nil: it is no disk.
    ///
    /// - Parameter device: the PCI device's number.
    public static func virtioModules(device: UInt16) -> [String]? {
        switch device {
        case 0x1001, 0x1042: ["virtio_blk"]
        case 0x1004, 0x1048: ["virtio_scsi", "sd_mod"]
        default: nil
        }
    }

    /// - Parameter classCode: base class, subclass and programming interface (PCI Code and ID Assignment Specification, section 1).
    public static func upperModules(classCode: UInt32) -> [String] {
        switch classCode >> 8 {
        case 0x0200...0x02ff: networkModules
        // SCSI, RAID, ATA, SATA, SAS.
        case 0x0100, 0x0104, 0x0105, 0x0106, 0x0107: ["sd_mod"]
        // SD host controllers.
        case 0x0805: ["mmc_block"]
        // USB.
        case 0x0c03: ["usb-storage", "uas", "sd_mod"]
        default: []
        }
    }
}
