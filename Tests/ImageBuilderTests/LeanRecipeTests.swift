import Foundation
import Testing

@testable import ImageBuilder

@Suite struct LeanRecipeTests {
    static let digest = String(repeating: "0a", count: 32)

    private func read(_ text: String) throws(ImageError) -> ImageRecipe {
        try ImageRecipe(untrustedYAML: text, name: "r", path: "Images/r.yaml")
    }

    @Test func aRecipeIsReadWhole() throws {
        let recipe = try read(
            """
            kind: lean
            package: linux-source-6.1
            version: 6.1.192-2
            sha256: \(Self.digest)
            fallback: debian-6.1
            base: { configuration: lean/base.config, drivers: [virtio_pci, pvpanic-pci] }
            fragments:
              e100: { configuration: lean/e.config, drivers: [e100], firmware: [e100/d101m_ucode.bin], memory: 40MiB }
              none: { configuration: lean/none.config }
            commandLine: quiet
            """)
        let lean = try #require(recipe.lean)
        #expect(recipe.kind == .lean && recipe.version == "6.1.192-2" && recipe.commandLine == "quiet")
        #expect(lean.sha256 == Self.digest && lean.fallback == "debian-6.1")
        #expect(lean.base == .init(name: "base", configuration: "lean/base.config", drivers: ["virtio_pci", "pvpanic_pci"]))
        #expect(
            lean.fragments == [
                .init(name: "e100", configuration: "lean/e.config", drivers: ["e100"], firmware: ["e100/d101m_ucode.bin"], memoryMiB: 40),
                .init(name: "none", configuration: "lean/none.config", drivers: []),
            ])
    }

    @Test(arguments: [
        ("modules: [x]\n", "“modules” is no key of a lean recipe"), ("sha256: 12\n", "64 hexadecimal digits"),
        ("sha256: \(digest)\n", "there is none"), ("fragments: [a]\n", "“fragments” is a mapping"),
        ("fragments: { a: { drivers: [x] } }\n", "needs a “configuration”"),
        ("fragments: { a: { configuration: /etc/passwd } }\n", "below the recipe's directory"),
        ("fragments: { a: { configuration: ../x } }\n", "below the recipe's directory"),
        ("fragments: { a: { configuration: x, drivers: [\"a b\"] } }\n", "can't be a driver's name"),
        ("fragments: { a: { configuration: x, firmware: [../../etc/shadow] } }\n", "below /lib/firmware"),
        ("fragments: { base: { configuration: x } }\n", "there twice"), ("fragments: { a: { config: x } }\n", "“config” is no key"),
    ])
    func whatIsWrongIsSaid(_ line: String, _ words: String) throws {
        var text = "kind: lean\npackage: linux-source-6.1\nfallback: f\nbase: { configuration: b }\n" + line
        if !line.hasPrefix("fragments") { text += "fragments: {}\n" }
        let error = #expect(throws: ImageError.self) { try read(text) }
        guard case .badRecipe("Images/r.yaml", let place, _, let problem) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(place == 5)
        #expect(problem.contains(words), "\(problem)")
    }

    @Test(arguments: ["fallback", "base", "fragments"]) func whatIsMissingIsNamed(_ key: String) throws {
        let lines = ["fallback: f", "base: { configuration: b }", "fragments: {}"].filter { !$0.hasPrefix(key) }
        let error = #expect(throws: ImageError.self) { try read("kind: lean\npackage: linux-source\n" + lines.joined(separator: "\n")) }
        #expect(error?.description.contains("“\(key)” is missing") == true)
    }

    @Test func aStockRecipeHasNoFragments() {
        #expect(throws: ImageError.self) { try read("kind: stock\npackage: linux-image\nfragments: {}\n") }
    }

    /// What Debian's 6.1 kernel matches for devices of QEMU's, as `drover image build` prints it.
    @Test(
        arguments: [
            ([["nvme"]], ["nvme"]), ([["ahci"], ["sd_mod"]], ["ahci"]), ([["megaraid_sas"], ["sd_mod"]], ["scsi"]),
            ([["virtio_pci"], ["virtio_scsi"], ["sd_mod"]], ["virtio"]), ([["sdhci_pci"], ["mmc_block"]], ["sdhci"]),
            ([["xhci_pci"], ["usb_storage"], ["uas"], ["sd_mod"]], ["usb-storage"]), ([["ata_generic", "ahci"], ["sd_mod"]], ["ahci"]),
            ([["e1000e"], ["virtio_net"], ["sch_ingress"], ["cls_matchall"], ["act_mirred"]], ["network", "ethernet"]),
            ([["virtio_pci"], ["virtio_net"]], ["network"]), ([["vmxnet3"], ["virtio_net"]], ["network", "ethernet"]),
            ([["8139cp", "8139too"]], ["ethernet"]),
            ([["virtio_pci"]], []), ([["nvme"], ["sdhci_pci"]], ["nvme", "sdhci"]),
        ] as [([[String]], [String])])
    func theShippedRecipeChoosesWhatADeviceNeedsAndNoMore(_ needs: [[String]], _ fragments: [String]) throws {
        let lean = try #require(try Self.shipped().lean)
        #expect(lean.fragments(for: needs)?.map(\.name) == fragments)
    }

    @Test func aDriverThatNoFragmentHasIsCoveredByNone() throws {
        let lean = try #require(try Self.shipped().lean)
        #expect(lean.fragments(for: [["nvme"], ["warp_drive"]]) == nil)
        #expect(lean.fragments(for: [[]]) == nil)
    }

    static let recipes = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../Images").path

    static func shipped() throws -> ImageRecipe {
        try #require(try ImageBuilder(cacheDirectory: "/nonexistent", recipesDirectory: recipes).recipes().first { $0.name == "lean-6.1" })
    }

    /// What a driver's kernel must never have, whatever fragments are put together.
    @Test func noShippedFragmentAsksForModulesOrUsers() throws {
        let lean = try #require(try Self.shipped().lean)
        let files = try ([lean.base] + lean.fragments).map { fragment in
            let path = "\(Self.recipes)/\(fragment.configuration)"
            return try KernelConfiguration(untrustedFragment: String(decoding: try FileStore.read(path), as: UTF8.self), path: path)
        }
        #expect(files[0].options["CONFIG_MODULES"] == "n" && files[0].options["CONFIG_MULTIUSER"] == "n")
        // Each can be put together with the base, and none changes what the base keeps out.
        for (file, fragment) in zip(files.dropFirst(), lean.fragments) {
            var both = files[0]
            try both.add(file, path: fragment.name)
            for option in ["CONFIG_MODULES", "CONFIG_MULTIUSER", "CONFIG_DEVMEM", "CONFIG_KEXEC"] { #expect(both.options[option] == "n") }
            // IP comes with the packets that it cuts into frames.
            #expect((both.options["CONFIG_INET"] ?? "n") == (fragment.name == "network" ? "y" : "n"), "\(fragment.name)")
        }
    }
}
