import Foundation
import Testing

@testable import ImageBuilder

/// Real images of Debian's kernels for every controller that QEMU can emulate. Needs apt's index, and for the first run a
/// network. `DROVER_CACHE_DIR` names a cache that outlives the tests, `DROVER_TEST_STUB` a server stub for the guest.
@Suite(.serialized) struct StockKernelTests {
    struct Controller: Sendable, CustomTestStringConvertible {
        var name: String
        var modaliases: [String]
        var extraModules: [String] = []
        /// What the image has to load, beside what every image does.
        var drivers: [String]

        var testDescription: String { name }

        /// As sysfs shows them in a guest of QEMU 7.2.
        static let all = [
            Controller(name: "nvme", modaliases: ["pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"], drivers: ["nvme"]),
            Controller(
                name: "ahci", modaliases: ["pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"], extraModules: ["sd_mod"],
                drivers: ["ahci", "sd_mod"]),
            Controller(
                name: "sym53c8xx", modaliases: ["pci:v00001000d00000012sv00000000sd00001000bc01sc00i00"], extraModules: ["sd_mod"],
                drivers: ["sym53c8xx", "sd_mod"]),
            Controller(
                name: "megaraid_sas", modaliases: ["pci:v00001000d00000060sv00001000sd00001013bc01sc04i00"],
                extraModules: ["sd_mod"], drivers: ["megaraid_sas", "sd_mod"]),
            Controller(
                name: "vmw_pvscsi", modaliases: ["pci:v000015ADd000007C0sv000015ADsd000007C0bc01sc00i00"],
                extraModules: ["sd_mod"], drivers: ["vmw_pvscsi", "sd_mod"]),
            Controller(
                name: "virtio_blk",
                modaliases: ["pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00", "virtio:d00000002v00001AF4"],
                drivers: ["virtio_blk"]),
            Controller(
                name: "virtio_scsi",
                modaliases: ["pci:v00001AF4d00001004sv00001AF4sd00000008bc01sc00i00", "virtio:d00000008v00001AF4"],
                extraModules: ["sd_mod"], drivers: ["virtio_scsi", "sd_mod"]),
            Controller(
                name: "sdhci", modaliases: ["pci:v00001B36d00000007sv00001AF4sd00001100bc08sc05i01"], extraModules: ["mmc_block"],
                drivers: ["sdhci_pci", "mmc_block"]),
            Controller(
                name: "usb-storage",
                modaliases: ["pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30", "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00"],
                extraModules: ["uas", "sd_mod"], drivers: ["xhci_pci", "usb_storage", "uas", "sd_mod"]),
        ]
    }

    private func builder(_ scratch: Scratch) -> ImageBuilder {
        let recipes = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../Images").path
        let cache = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? scratch.file("cache")
        return ImageBuilder(cacheDirectory: cache, recipesDirectory: recipes)
    }

    @Test(arguments: ["debian-6.1", "debian-6.12"])
    func everyEmulatedControllerHasAnImage(_ recipe: String) async throws {
        let scratch = try Scratch()
        let stub = try ProcessInfo.processInfo.environment["DROVER_TEST_STUB"] ?? scratch.serverStub()
        let builder = builder(scratch)
        for controller in Controller.all {
            let image = try await builder.build(
                recipe: recipe, modaliases: controller.modaliases, extraModules: controller.extraModules, serverStub: stub)
            let manifest = image.manifest
            let names = manifest.modules.map(\.name)
            #expect(manifest.kernelRelease.hasPrefix(recipe.dropFirst("debian-".count) + "."))
            for driver in controller.drivers + ["vmw_vsock_virtio_transport", "pvpanic_pci"] {
                #expect(names.contains(driver), "\(controller.name) without \(driver): \(names)")
            }
            #expect(Set(names).count == names.count)
            #expect(try FileStore.read(image.initrd, offset: 0, count: 4) == [0x28, 0xb5, 0x2f, 0xfd])
            #expect(try ExecutableFormat(untrustedFile: image.kernel)?.hasPVHEntry == true)
            print(
                "\(recipe) \(controller.name) \(image.hash.prefix(12)) initrd \(manifest.initrd.size / 1024) KiB, \(names.joined(separator: " "))"
            )
        }
    }

    @Test(arguments: ["debian-6.1", "debian-6.12"])
    func aDeviceWithoutADriverIsNamed(_ recipe: String) async throws {
        let scratch = try Scratch()
        let unknown = "pci:v0000DEADd0000BEEFsv00000000sd00000000bcFFsc00i00"
        let error = await #expect(throws: ImageError.self) {
            try await builder(scratch).build(recipe: recipe, modaliases: [unknown], serverStub: try scratch.serverStub())
        }
        guard case .noDriver(unknown, _) = error else {
            Issue.record("\(error.map { "\($0)" } ?? "no error")")
            return
        }
    }
}
