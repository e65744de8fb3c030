import Foundation
import Testing

@testable import ImageBuilder

/// Real lean kernels, compiled from Debian's source. `DROVER_CACHE_DIR` names a cache that outlives the tests: without one each run
/// compiles for minutes.
@Suite(.serialized) struct LeanKernelTests {
    private func builder(_ scratch: Scratch) -> ImageBuilder {
        let cache = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? scratch.file("cache")
        return ImageBuilder(cacheDirectory: cache, recipesDirectory: LeanRecipeTests.recipes)
    }

    private func configuration(of image: BuiltImage) throws -> KernelConfiguration {
        let bytes = try FileStore.read("\(FileStore.directory(of: image.kernel))/config")
        return KernelConfiguration(final: String(decoding: bytes, as: UTF8.self))
    }

    static let fragments = [
        "nvme": "nvme", "ahci": "ahci", "sym53c8xx": "scsi", "megaraid_sas": "scsi", "vmw_pvscsi": "scsi", "virtio_blk": "virtio",
        "virtio_scsi": "virtio", "sdhci": "sdhci", "usb-storage": "usb-storage",
    ]

    /// What no driver of disks needs: ways into the kernel, other users, networks, and other programs' interfaces.
    static let never = [
        "MODULES", "MULTIUSER", "INET", "UNIX", "PACKET", "NETDEVICES", "NETFILTER", "BPF_SYSCALL", "DEVMEM", "KEXEC", "KEXEC_FILE",
        "MODIFY_LDT_SYSCALL", "IA32_EMULATION", "USER_NS", "PTRACE", "COREDUMP", "SWAP", "INPUT", "VT", "FB", "SOUND", "MSDOS_PARTITION",
    ]

    @Test func everyDiskControllerHasAnImageWithItsDriverAndNothingElse() async throws {
        let scratch = try Scratch()
        let stub = try ProcessInfo.processInfo.environment["DROVER_TEST_STUB"] ?? scratch.serverStub()
        let builder = builder(scratch)
        // Those without SCSI first: a third of the kernel is compiled anew when that comes or goes.
        let isFirst = { (controller: StockKernelTests.Controller) in
            !controller.extraModules.contains("sd_mod") && controller.name != "virtio_blk"
        }
        let controllers = StockKernelTests.Controller.all
        for controller in controllers.filter(isFirst) + controllers.filter({ !isFirst($0) }) {
            let start = ContinuousClock.now
            let image = try await builder.build(
                recipe: "lean-6.1", modaliases: controller.modaliases, extraModules: controller.extraModules, serverStub: stub)
            let manifest = image.manifest
            let lean = try #require(manifest.lean, "\(controller.name) fell back to \(manifest.recipe)")
            #expect(lean.fragments == [try #require(Self.fragments[controller.name])], "\(controller.name)")
            #expect(manifest.modules.isEmpty)
            #expect(manifest.kernelRelease.hasPrefix("6.1."))
            #expect(manifest.package.name == "linux-source-6.1")
            let final = try configuration(of: image)
            for option in Self.never {
                #expect(final.options["CONFIG_\(option)"] ?? "n" == "n", "\(controller.name) has \(option)")
            }
            #expect(try ExecutableFormat(untrustedFile: image.kernel)?.hasPVHEntry == true)
            print(
                "lean-6.1 \(controller.name) \(image.hash.prefix(12)) vmlinux \(manifest.vmlinux.size / 1024) KiB, "
                    + "\(final.options.values.count { $0 == "y" }) options, after \(start.duration(to: .now))")
        }
    }

    /// A NIC's kernel has IP, to cut large packets with, and interfaces; and of the rest of the network nothing.
    @Test(arguments: [
        ("e1000e", "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00", ["network", "ethernet"]),
        ("virtio_net", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", ["network"]),
    ])
    func aNetworkCardsKernelForwardsAndDoesNothingElse(_ name: String, _ modalias: String, _ fragments: [String]) async throws {
        let scratch = try Scratch()
        let image = try await builder(scratch).build(
            recipe: "lean-6.1", modaliases: [modalias], extraModules: ["virtio_net", "sch_ingress", "cls_matchall", "act_mirred"],
            serverStub: try scratch.serverStub())
        let lean = try #require(image.manifest.lean, "\(name) fell back to \(image.manifest.recipe)")
        #expect(Set(lean.fragments) == Set(fragments))
        let final = try configuration(of: image)
        let allowed: Set = ["INET", "NETDEVICES"]
        for option in Self.never.filter({ !allowed.contains($0) }) + ["IPV6", "BRIDGE", "NET_NS", "VLAN_8021Q", "TUN"] {
            #expect(final.options["CONFIG_\(option)"] ?? "n" == "n", "\(name) has \(option)")
        }
    }

    /// The second build starts from the objects of another configuration, and still is the same.
    @Test func theSameSourceAndConfigurationGiveTheSameKernelByteForByte() async throws {
        let scratch = try Scratch()
        let stub = try scratch.serverStub()
        let builder = builder(scratch)
        let nvme = try #require(StockKernelTests.Controller.all.first { $0.name == "nvme" })
        func build() async throws -> BuiltImage {
            try await builder.build(recipe: "lean-6.1", modaliases: nvme.modaliases, serverStub: stub)
        }
        let first = try await build()
        let bytes = try FileStore.read(first.kernel)
        let lean = try #require(first.manifest.lean)
        // Away with the image and with the kernel it was made of.
        FileStore.remove(FileStore.directory(of: first.kernel))
        FileStore.remove("\(builder.cacheDirectory)/kernels/\(lean.kernel)")
        let second = try await build()
        #expect(second.hash == first.hash)
        #expect(second.manifest == first.manifest)
        #expect(try FileStore.read(second.kernel) == bytes)
    }

    @Test func aDeviceOfAnotherKindFallsBackToTheStockKernel() async throws {
        let scratch = try Scratch()
        // An Intel HDA sound card: no fragment is for it.
        let image = try await builder(scratch).build(
            recipe: "lean-6.1", modaliases: ["pci:v00008086d00002668sv00001AF4sd00001100bc04sc03i00"],
            serverStub: try scratch.serverStub())
        #expect(image.manifest.recipe == "debian-6.1" && image.manifest.lean == nil)
    }
}
