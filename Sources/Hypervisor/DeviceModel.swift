/// A controller that QEMU can emulate, with a disk on it: for demonstrations and tests without a device to spare.
///
/// The raw value is what the configuration says (`emulated: nvme`): the name of the Linux driver. Everything here was found by booting
/// Debian's 6.1 kernel on QEMU 7.2.
public enum DeviceModel: String, Sendable, Codable, CaseIterable {
    case nvme
    case ahci
    case sym53c8xx
    case megaraidSAS = "megaraid_sas"
    case vmwPVSCSI = "vmw_pvscsi"
    case virtioBlock = "virtio_blk"
    case virtioSCSI = "virtio_scsi"
    case sdhci
    /// A USB disk behind an xHCI controller.
    case usbStorage = "usb-storage"

    /// The controller's PCI modalias as the guest's kernel prints it: input to the image builder.
    public var modalias: String {
        switch self {
        case .nvme: "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"
        case .ahci: "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
        case .sym53c8xx: "pci:v00001000d00000012sv00000000sd00001000bc01sc00i00"
        case .megaraidSAS: "pci:v00001000d00000060sv00001000sd00001013bc01sc04i00"
        case .vmwPVSCSI: "pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc00i00"
        case .virtioBlock: "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00"
        case .virtioSCSI: "pci:v00001AF4d00001004sv00001AF4sd00000008bc01sc00i00"
        case .sdhci: "pci:v00001B36d00000007sv00001AF4sd00001100bc08sc05i01"
        case .usbStorage: "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30"
        }
    }

    /// Modules that no PCI modalias leads to: drivers on a bus below the controller, and the layers that make a disk of what they find.
    public var extraModules: [String] {
        switch self {
        case .nvme: []
        case .ahci, .sym53c8xx, .megaraidSAS, .vmwPVSCSI: ["sd_mod"]
        case .virtioBlock: ["virtio_blk"]
        case .virtioSCSI: ["virtio_scsi", "sd_mod"]
        case .sdhci: ["mmc_block"]
        case .usbStorage: ["usb-storage", "sd_mod"]
        }
    }

    /// Words for the command line of a kernel that has the driver built in: they spare a disk that is a file the time that its driver gives real ones
    /// to settle after a reset, or to wake.
    public var kernelParameters: [String] {
        switch self {
        case .sym53c8xx: ["sym53c8xx.settle=0"]
        case .usbStorage: ["usb-storage.delay_use=0"]
        default: []
        }
    }

    /// The modules that are "the driver" in a table for people.
    public var drivers: [String] {
        switch self {
        case .usbStorage: ["xhci_pci", "usb-storage"]
        case .sdhci: ["sdhci-pci"]
        default: [rawValue]
        }
    }

    /// What a person calls it.
    public var title: String {
        switch self {
        case .nvme: "NVMe controller"
        case .ahci: "AHCI SATA controller"
        case .sym53c8xx: "LSI 53C895A SCSI adapter"
        case .megaraidSAS: "LSI MegaRAID SAS 1078"
        case .vmwPVSCSI: "VMware paravirtual SCSI"
        case .virtioBlock: "virtio block device"
        case .virtioSCSI: "virtio SCSI controller"
        case .sdhci: "SD card behind SDHCI"
        case .usbStorage: "USB disk behind xHCI"
        }
    }

    /// Whether the guest's driver can discard blocks (TRIM, UNMAP).
    public var discards: Bool { self != .usbStorage }
}

// MARK: disks

extension DeviceModel {
    /// The disk's logical block size in bytes.
    public var blockSize: UInt64 { 512 }

    /// The smallest and the largest disk in bytes that model and driver agree on.
    public var diskSizes: ClosedRange<UInt64> {
        let mebi: UInt64 = 1 << 20
        let tebi: UInt64 = 1 << 40
        // An SD card's size field (CSD version 2) ends at 2 TiB; the others at what one host file can be.
        return self == .sdhci ? mebi...2 * tebi : mebi...8 * tebi
    }

    /// Why a disk of this size cannot be offered; nil when it can.
    public func objection(toDiskOf bytes: UInt64) -> String? {
        if !diskSizes.contains(bytes) {
            return "a \(title) takes disks from \(ByteCount.text(diskSizes.lowerBound)) to \(ByteCount.text(diskSizes.upperBound))"
        }
        if bytes % blockSize != 0 { return "its size is not a multiple of \(blockSize) bytes" }
        if self == .sdhci, bytes.nonzeroBitCount != 1 { return "the size of an SD card has to be a power of two" }
        return nil
    }
}

// MARK: QEMU

extension DeviceModel {
    /// QEMU's `-device` values for the controller at the given PCI slot, and the disk on it. `drive` is the block node's name.
    ///
    /// - Parameter serial: at most 20 characters, none of them a comma.
    func devices(slot: Int, drive: String, serial: String) -> [String] {
        let place = "id=device0,bus=pcie.0,addr=0x" + String(slot, radix: 16)
        // An error of the host's file is the guest's driver's to report, and the client's to hear of. By default QEMU pauses the machine
        // when the host's disk is full: it would be replaced for not answering, its requests sent again, and so on. `nvme` and `sd-card`
        // always report.
        let reports = "werror=report,rerror=report"
        let plainDisk = "drive=\(drive),serial=\(serial)"
        let disk = "\(plainDisk),\(reports)"
        // Without `rotation_rate=1` (not a rotating medium) the guest's kernel takes a SCSI or ATA disk for a spindle and sorts requests.
        let scsiDisk = "scsi-hd,bus=device0.0,rotation_rate=1,\(disk)"
        return switch self {
        case .nvme: ["nvme,\(place),\(plainDisk)"]
        case .ahci: ["ich9-ahci,\(place)", "ide-hd,bus=device0.0,rotation_rate=1,\(disk)"]
        case .sym53c8xx: ["lsi53c895a,\(place)", scsiDisk]
        case .megaraidSAS: ["megasas,\(place)", scsiDisk]
        case .vmwPVSCSI: ["pvscsi,\(place)", scsiDisk]
        case .virtioBlock: ["virtio-blk-pci,\(place),\(disk)"]
        case .virtioSCSI: ["virtio-scsi-pci,\(place)", scsiDisk]
        case .sdhci: ["sdhci-pci,\(place)", "sd-card,bus=sd-bus,drive=\(drive)"]
        case .usbStorage: ["qemu-xhci,\(place)", "usb-storage,bus=device0.0,\(disk)"]
        }
    }
}
