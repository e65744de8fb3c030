import Testing

import PCIInventory

@Suite("Modules above a PCI driver")
struct UpperModulesTests {
    @Test(
        arguments: [
            (0x01_08_02, []), (0x01_06_01, ["sd_mod"]), (0x01_00_00, ["sd_mod"]), (0x01_04_00, ["sd_mod"]), (0x08_05_01, ["mmc_block"]),
            (0x0c_03_30, ["usb-storage", "uas", "sd_mod"]), (0x03_00_00, []),
        ] as [(UInt32, [String])])
    func goByTheClass(_ classCode: UInt32, _ modules: [String]) {
        #expect(PCIFunction.upperModules(classCode: classCode) == modules)
    }

    @Test(
        arguments: [
            (0x1001, ["virtio_blk"]), (0x1042, ["virtio_blk"]), (0x1004, ["virtio_scsi", "sd_mod"]), (0x1048, ["virtio_scsi", "sd_mod"]),
            (0x1000, nil), (0x1041, nil), (0x1045, nil),
        ] as [(UInt16, [String]?)])
    func ofAVirtioDeviceGoByItsNumber(_ device: UInt16, _ modules: [String]?) {
        #expect(PCIFunction.virtioModules(device: device) == modules)
    }

    @Test func aNetworkCardsKernelForwardsToTheHost() {
        #expect(PCIFunction.upperModules(classCode: 0x02_00_00) == PCIFunction.networkModules)
        #expect(PCIFunction.networkModules.contains("virtio_net"))
    }
}
