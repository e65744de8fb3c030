import Foundation
import Testing

extension Lab {
    /// README.md, "Use it with your own device", as somebody who has just read it would do it: its commands, and the configuration that it names.
    @Suite struct Readme {
        @Test(.timeLimit(.minutes(10)))
        func itsStepsLeadFromADiskOfTheHostsToADDOSAndBack() async throws {
            try Lab.enter()
            try await withRig("README: with your own device", []) { rig in
                let doctor = try await rig.drover("doctor", "--passthrough")
                #expect(doctor.status == 0, "\(doctor.out) \(doctor.error)")
                let list = try await rig.succeed("devices")
                #expect(list.split(separator: "\n").contains { $0.contains(Lab.nvme) && $0.contains("yes") }, "\(list)")
                #expect(try await rig.succeed("devices", Lab.nvme).contains("nvme"))
                // `Configs/passthrough.yaml` has this very address.
                let configuration = URL(filePath: #filePath).deletingLastPathComponent().appending(
                    path: "../../../Configs/passthrough.yaml")
                let file = configuration.standardizedFileURL.path(percentEncoded: false)
                #expect(try String(contentsOfFile: file, encoding: .utf8).contains(Lab.nvme))
                print(try await rig.succeed("up", "-f", file, within: .seconds(400)))
                #expect(Lab.driver(Lab.nvme) == "vfio-pci")
                try await rig.access(try await rig.uri("nvme0"), "write -P 0x77 200M 1M", "flush", "read -P 0x77 200M 1M")
                try await rig.succeed("stop", "nvme0")
                #expect(Lab.driver(Lab.nvme) == "nvme", "'drover stop' gives it back")
                try await rig.succeed("down")
                #expect(Lab.override(Lab.nvme) == "")
            }
        }
    }
}
