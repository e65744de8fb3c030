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

    @Test func aNetworkCardsKernelForwardsToTheHost() {
        #expect(PCIFunction.upperModules(classCode: 0x02_00_00) == PCIFunction.networkModules)
        #expect(PCIFunction.networkModules.contains("virtio_net"))
    }
}
