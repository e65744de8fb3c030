import Testing

@testable import ImageBuilder

@Suite struct ModuleIndexTests {
    private let index = ModuleIndex(
        dep: Array(
            """
            kernel/drivers/scsi/scsi_common.ko:
            kernel/drivers/scsi/scsi_mod.ko: kernel/drivers/scsi/scsi_common.ko
            kernel/drivers/ata/libata.ko.xz: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
            kernel/drivers/ata/libahci.ko: kernel/drivers/ata/libata.ko.xz kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
            kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libahci.ko kernel/drivers/ata/libata.ko.xz kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
            kernel/arch/x86/crypto/crc32c-intel.ko:
            kernel/crypto/crc32c_generic.ko:
            kernel/drivers/misc/pvpanic/pvpanic-pci.ko:
            kernel/lib/libcrc32c.ko:
            kernel/a.ko:
            kernel/b.ko:

            """.utf8),
        alias: Array(
            """
            # Aliases extracted from modules themselves.
            alias pci:v*d*sv*sd*bc01sc06i01* ahci
            alias pci:v00008086d00002922sv*sd*bc*sc*i* ahci
            alias crypto-crc32c crc32c_intel
            alias crypto-crc32c crc32c_generic
            alias pci:v00001234d* gone

            """.utf8),
        softdep: Array(
            """
            # Soft dependencies
            softdep libcrc32c pre: crypto-crc32c nothing-like-it
            softdep a pre: b
            softdep b pre: a
            softdep ahci post: pvpanic-pci

            """.utf8),
        builtin: Array("kernel/drivers/virtio/virtio_pci.ko\nkernel/fs/xyz.ko\n".utf8),
        builtinModinfo: Array("xyz.license=GPL\0xyz.alias=fs-xyz\0".utf8),
        extraAliases: [.init(match: "pci:v00001AF4d*", driver: "virtio-pci"), .init(match: "pci:v00004321*", driver: "absent")])

    @Test func aModaliasLeadsToItsDriverOnce() {
        let found = index.drivers(for: "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01")
        #expect(found.modules == ["ahci"])
        #expect(found.builtin.isEmpty)
    }

    @Test func builtInDriversCount() {
        #expect(index.drivers(for: "fs-xyz").builtin == ["xyz"])
        #expect(index.drivers(for: "pci:v00001AF4d00001001sv0").builtin == ["virtio_pci"])
    }

    @Test func aliasesOfDriversThatAreNotThereCountForNothing() {
        #expect(index.drivers(for: "pci:v00001234d0").modules.isEmpty)
        #expect(index.drivers(for: "pci:v00004321d0").modules.isEmpty)
    }

    @Test func whatAModuleNeedsIsLoadedBeforeIt() throws {
        let order = try index.loadOrder(of: ["ahci"], kernelRelease: "x").map(\.name)
        #expect(order == ["scsi_common", "scsi_mod", "libata", "libahci", "ahci", "pvpanic_pci"])
    }

    @Test func softDependenciesGoThroughAliasesAndMayBeMissing() throws {
        #expect(try index.loadOrder(of: ["libcrc32c"], kernelRelease: "x").map(\.name) == ["crc32c_generic", "libcrc32c"])
    }

    @Test func softDependenciesInACircleEnd() throws {
        #expect(try index.loadOrder(of: ["a"], kernelRelease: "x").map(\.name) == ["b", "a"])
    }

    @Test func builtInModulesAreNotLoaded() throws {
        #expect(try index.loadOrder(of: ["virtio_pci", "pvpanic-pci"], kernelRelease: "x").map(\.name) == ["pvpanic_pci"])
    }

    @Test func anUnknownModuleIsNamed() {
        #expect(throws: ImageError.noSuchModule(name: "warp_drive", kernelRelease: "6.1")) {
            try index.loadOrder(of: ["ahci", "warp-drive"], kernelRelease: "6.1")
        }
    }
}
