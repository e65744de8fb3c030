/// A controller that QEMU can emulate, with a disk on it: for demonstrations and tests without a device to spare.
///
/// The raw value is what the configuration says (`emulated: nvme`): the name of the Linux driver.
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

    /// The controller's PCI modalias, as the guest's kernel will print it: input to the image builder.
    public var modalias: String { "" }

    /// Modules that no PCI modalias leads to: the upper layers that make a disk of it (`sd_mod`, `mmc_block`).
    public var extraModules: [String] { [] }
}
