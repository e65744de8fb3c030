import ControlModel
import Foundation
import Glibc
import Testing

extension EndToEnd {
    /// Errors that people meet: each with its exit status and one sentence that says what happened and what to do.
    @Suite struct Complaints {
        @Test(.timeLimit(.minutes(5)))
        func configurationsWithErrorsAreRefusedWithLineAndColumn() async throws {
            try await withRig("configurations with errors", [Plan("nvme0", "nvme")]) { rig in
                let good = try String(contentsOfFile: rig.configurationFile, encoding: .utf8)
                let cases: [(what: String, change: (old: String, new: String), place: String, words: String)] = [
                    ("broken YAML", ("{ emulated", "{ { emulated"), ":5:5:", "YAML"),
                    ("an unknown key", ("image:", "imagge:"), ":5:5:", "image"),
                    ("a wrong type", ("size: 64MiB", "size: [ 1 ]"), ":4:", "size"),
                    ("an unknown device model", ("emulated: nvme", "emulated: nvmm"), ":4:", "nvme"),
                ]
                for (what, change, place, words) in cases {
                    let file = rig.dataDirectory + "/bad.yaml"
                    try good.replacingOccurrences(of: change.old, with: change.new).write(toFile: file, atomically: true, encoding: .utf8)
                    let output = try await rig.drover("up", "-f", file)
                    Self.expect(output, what, status: 2, words: [file + place, words])
                }
                let missing = try await rig.drover("up", "-f", rig.dataDirectory + "/no-such.yaml")
                Self.expect(missing, "no such configuration", status: 2, words: ["no-such.yaml"])
                #expect(!FileManager.default.fileExists(atPath: rig.runDirectory + "/drover.sock"))
            }
        }

        @Test(.timeLimit(.minutes(5)))
        func aSupervisorThatIsNotThereAndASocketPathTooLongAreSaidPlainly() async throws {
            try await withRig("no supervisor", [Plan("nvme0", "nvme")]) { rig in
                let ps = try await rig.drover("ps")
                Self.expect(ps, "droverd does not run", status: 3, words: ["droverd is not running", "drover up"])
                let long = rig.runDirectory + "/" + String(repeating: "x", count: 90)
                let command = try rig.start(rig.programs.drover, ["up", "-f", rig.configurationFile, "--run-dir", long])
                Self.expect(
                    try await command.finish(within: .seconds(60)), "socket path too long", status: 1, words: ["socket path", "--run-dir"])
            }
        }

        @Test(.timeLimit(.minutes(10)))
        func startsThatCannotSucceedSayWhyAndHinderNoOther() async throws {
            try await Self.withSmallFileSystem { full in
                let restart = "{ backoff: 0.2s..1s, quarantine: { failures: 2, within: 2min } }"
                let plans = [
                    Plan("good", "nvme"),
                    Plan("busy", "ahci").with { $0.restart = restart },
                    Plan("full", "virtio_blk").with {
                        $0.restart = restart
                        $0.file = full + "/disk.img"
                    },
                    Plan("recipe", "nvme").with {
                        $0.restart = restart
                        $0.image = "debian-0.9"
                    },
                    Plan("socket", "virtio_blk").with {
                        $0.restart = restart
                        $0.frontEnds = "[ nbd: { socket: \(full)/holder.sock } ]"
                    },
                    Plan("nodevice", "").with {
                        $0.restart = restart
                        $0.address = "ffff:fe:1f.7"
                    },
                ]
                try await withRig("starts that cannot succeed", plans) { rig in
                    try await Self.startsThatCannotSucceed(rig, holderSocket: full + "/holder.sock")
                }
            }
        }

        private static func startsThatCannotSucceed(_ rig: Rig, holderSocket socket: String) async throws {
            let file = rig.dataDirectory + "/busy.img"
            #expect(FileManager.default.createFile(atPath: file, contents: nil))
            #expect(truncate(file, 64 << 20) == 0)
            let holder = try rig.start(Programs.client("qemu-nbd"), ["--persistent", "--format=raw", "--socket=\(socket)", file])
            _ = try await eventually("qemu-nbd holds \(file)", within: .seconds(10)) { access(socket, F_OK) == 0 ? true : nil }
            let output = try await rig.drover("up", "-f", rig.configurationFile, within: .seconds(600))
            expect(
                output, "'drover up' with DD/OSs that cannot start", status: 1,
                words: [
                    "5 of 6 DD/OSs did not start", "busy: ", "the device is busy", "full: ", "disk is full", "recipe: ", "debian-0.9",
                    "socket: ", "nodevice: ", "drover inspect",
                ])
            #expect(!output.error.contains("drover logs"), "none of them has printed anything")
            #expect(output.out.contains(/good +ready/), "the others are waited for: \(output.out)")
            try await rig.access(try await rig.uri("good"), "write -P 1 0 1M", "read -P 1 0 1M")

            let reasons = [
                ("busy", ["the device is busy", "Find the other user"]), ("full", ["disk is full", "64 MiB", "Make room"]),
                ("recipe", ["debian-0.9", "there is: debian-6.1"]), ("socket", [socket, "in use"]),
                ("nodevice", ["there is no PCI device at ffff:fe:1f.7", "lspci"]),
            ]
            for (name, words) in reasons {
                let summary = try await eventually("\(name) is quarantined", within: .seconds(120)) {
                    let summary = try await rig.summary(name)
                    return summary.phase == .quarantined ? summary : nil
                }
                say("\(name): \(summary.status)")
                for word in words { #expect(summary.status.contains(word), "\(name): \(summary.status)") }
            }
            holder.kill()
            try await rig.succeed("start", "busy")
            say("busy: started once its file was free")

            expect(try await rig.drover("inspect", "nobody"), "no such DD/OS", status: 4, words: ["nobody", "good"])
            expect(try await rig.drover("logs", "nobody"), "no such DD/OS", status: 4, words: ["nobody", "good"])
            expect(
                try await rig.drover("up", "-f", rig.configurationFile), "a second 'drover up'", status: 5,
                words: ["runs already", "drover down", "--run-dir"])
            let second = try rig.start(
                rig.programs.droverd, ["--config", rig.configurationFile, "--run-dir", rig.runDirectory])
            expect(
                try await second.finish(within: .seconds(30)), "a second droverd", status: 1,
                words: ["another droverd", rig.runDirectory, "--run-dir"])
            #expect(try await rig.summary("good").phase == .ready, "a second supervisor changes nothing")
        }

        @Test(.timeLimit(.minutes(5)))
        func anAcceleratorThatDoesNotWorkHereIsRefusedWithItsReason() async throws {
            try await withRig("KVM where it does not work", [Plan("nvme0", "nvme")]) { rig in
                let usable = try await rig.drover("doctor", "--json")
                let output = try await rig.drover("up", "-f", rig.configurationFile, "--accelerator", "kvm", within: .seconds(120))
                if usable.out.contains("KVM is used") {
                    #expect(output.status == 0, "\(output.error)")
                } else {
                    Self.expect(output, "--accelerator kvm", status: 1, words: ["KVM cannot be used here: ", "--accelerator tcg", "auto"])
                }
                let unknown = try await rig.drover("up", "-f", rig.configurationFile, "--accelerator", "xen")
                Self.expect(unknown, "--accelerator xen", status: 64, words: ["xen", "auto, tcg, kvm"])
            }
        }

        /// Only where there is none: a device that can be taken would be.
        @Test(.timeLimit(.minutes(5)))
        func aDeviceWithoutAnIOMMUIsRefusedAndLeftToTheHost() async throws {
            let functions = try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/devices").sorted()
            let folder = "/sys/bus/pci/devices/"
            let found = functions.first { address in
                let code = (try? String(contentsOfFile: folder + address + "/class", encoding: .utf8)) ?? ""
                return code.hasPrefix("0x01") && !FileManager.default.fileExists(atPath: folder + address + "/iommu_group")
            }
            guard let address = found else { return say("every disk controller of this machine is in an IOMMU group") }
            let driver = try? FileManager.default.destinationOfSymbolicLink(atPath: folder + address + "/driver")
            let plan = Plan("real", "").with {
                $0.address = address
                $0.restart = "{ backoff: 0.2s..1s, quarantine: { failures: 1, within: 2min } }"
            }
            try await withRig("\(address) without an IOMMU", [plan]) { rig in
                let output = try await rig.drover("up", "-f", rig.configurationFile, within: .seconds(300))
                Self.expect(output, "passthrough without an IOMMU", status: 1, words: [address, "IOMMU", "drover inspect"])
            }
            #expect((try? FileManager.default.destinationOfSymbolicLink(atPath: folder + address + "/driver")) == driver)
        }

        /// A file system of 16 MiB in memory.
        private static func withSmallFileSystem(_ body: (String) async throws -> Void) async throws {
            var template = Array("/var/tmp/drover-full-XXXXXX".utf8CString)
            guard let made = mkdtemp(&template) else { throw Failure("cannot make a folder in /var/tmp") }
            let path = String(cString: made)
            defer { rmdir(path) }
            guard mount("tmpfs", path, "tmpfs", 0, "size=16m") == 0 else {
                throw Failure("cannot mount a tmpfs: \(String(cString: strerror(errno)))")
            }
            defer { umount2(path, Int32(MNT_DETACH)) }
            try await body(path)
        }

        private static func expect(_ output: RunningCommand.Output, _ what: String, status: Int32, words: [String]) {
            say("\(what): exit status \(output.status): \(output.error.trimmingCharacters(in: .whitespacesAndNewlines))")
            #expect(output.status == status, "\(what): \(output.out) \(output.error)")
            for word in words where !word.isEmpty { #expect(output.error.contains(word), "\(what): \(output.error)") }
            #expect(!output.error.contains("Error("), "\(what): no Swift type names")
        }
    }
}
