import Foundation
import Testing

extension Lab {
    @Suite struct Inventory {
        @Test(.timeLimit(.minutes(5)))
        func everyDeviceIsListedWithWhatSpeaksAgainstTakingIt() async throws {
            try Lab.enter()
            try await withRig("inventory", []) { rig in
                print(try await rig.succeed("devices"))
                let devices = try await Lab.devices(rig)
                let nvme = try #require(devices[Lab.nvme])
                #expect(nvme["takeable"] as? String == "yes")
                #expect(nvme["driver"] as? String == "nvme")
                #expect((nvme["resetMethods"] as? [String])?.first == "flr")
                #expect((nvme["bars"] as? [Any])?.isEmpty == false)
                let shared = try #require(devices[Lab.sharedNVMe])
                #expect(shared["takeable"] as? String == "no")
                #expect(shared["groupMembers"] as? [String] == [Lab.sharedNVMe, Lab.sharedNIC])
                #expect(Lab.reasons(shared).contains("\(Lab.sharedNIC) (e1000e)"))
                #expect(Lab.reasons(devices["0000:00:04.0"]).contains("bridge"))
            }
        }

        @Test(.timeLimit(.minutes(5)))
        func theDoctorFindsTheMachineReadyForPassthrough() async throws {
            try Lab.enter()
            try await withRig("doctor", []) { rig in
                let output = try await rig.drover("doctor", "--passthrough", Lab.nvme)
                print(output.out)
                #expect(output.status == 0, "\(output.out) \(output.error)")
                let shared = try await rig.drover("doctor", Lab.sharedNVMe)
                #expect(shared.status == 1)
                #expect(shared.out.contains(Lab.sharedNIC))
            }
        }
    }

    @Suite struct Refusals {
        @Test(.timeLimit(.minutes(5)))
        func aDeviceWhoseGroupIsSharedIsRefusedWithTheNamesOfBoth() async throws {
            try Lab.enter()
            let plan = Lab.plan("shared0", Lab.sharedNVMe).with { $0.restart = "{ quarantine: { failures: 1, within: 1min } }" }
            try await withRig("shared group", [plan]) { rig in
                let output = try await rig.drover("up", "-f", rig.configurationFile)
                #expect(output.status != 0)
                #expect(output.error.contains(Lab.sharedNVMe) && output.error.contains(Lab.sharedNIC), "\(output.error)")
                say(output.error)
                #expect(Lab.driver(Lab.sharedNVMe) == "nvme")
                #expect(Lab.driver(Lab.sharedNIC) == "e1000e")
                #expect(Lab.override(Lab.sharedNVMe) == "")
            }
        }

        @Test(.timeLimit(.minutes(5)))
        func aDiskThatTheHostUsesIsRefusedUnlessForceNamesIt() async throws {
            try Lab.enter()
            let plan = Lab.plan("nvme0", Lab.nvme).with { $0.restart = "{ quarantine: { failures: 1, within: 1min } }" }
            try await withRig("a disk in use", [plan]) { rig in
                try await Lab.run(rig, "/usr/sbin/mkswap", "/dev/nvme0n1")
                try await Lab.run(rig, "/usr/sbin/swapon", "/dev/nvme0n1")
                let output = try await rig.drover("up", "-f", rig.configurationFile)
                try await Lab.run(rig, "/usr/sbin/swapoff", "/dev/nvme0n1")
                #expect(output.status != 0)
                #expect(output.error.contains("swap") && output.error.contains("--force \(Lab.nvme)"), "\(output.error)")
                say(output.error)
                #expect(Lab.driver(Lab.nvme) == "nvme")
            }
        }
    }

    /// In a lab whose IOMMU does not remap interrupts (`LAB_INTREMAP=off`).
    @Suite struct WithoutInterruptRemapping {
        @Test(.timeLimit(.minutes(5)))
        func aDeviceIsRefusedAndTheRiskIsSaid() async throws {
            try await Lab.refused(words: ["remap interrupts", "take the host over"])
        }
    }

    /// In a lab whose IOMMU is switched off (`LAB_IOMMU=off`).
    @Suite struct WithoutIOMMU {
        @Test(.timeLimit(.minutes(5)))
        func aDeviceIsRefusedAndTheKernelParameterIsNamed() async throws {
            try await Lab.refused(words: ["IOMMU", "intel_iommu=on"])
        }
    }

    fileprivate static func refused(words: [String]) async throws {
        try enter()
        let plan = plan("nvme0", nvme).with { $0.restart = "{ quarantine: { failures: 1, within: 1min } }" }
        try await withRig("refusal", [plan]) { rig in
            let reasons = reasons(try await devices(rig)[nvme])
            let output = try await rig.drover("up", "-f", rig.configurationFile)
            #expect(output.status != 0)
            say(output.error)
            let doctor = try await rig.drover("doctor", "--passthrough")
            #expect(doctor.status == 1)
            for word in words {
                #expect(reasons.contains(word), "devices: \(reasons)")
                #expect(output.error.contains(word), "up: \(output.error)")
                #expect(doctor.out.contains(word), "doctor: \(doctor.out)")
            }
            #expect(driver(nvme) == "nvme")
            #expect(override(nvme) == "")
        }
    }
}
