import ControlAPI
import ControlModel
import Foundation
import Glibc
import Testing

extension EndToEnd {
    @Suite struct ProcessDeaths {
        @Test(.timeLimit(.minutes(10)))
        func clientsNoticeNothingWhenTheSupervisorIsKilledAndANewOneAdoptsEverything() async throws {
            let plans = [Plan("nvme0", "nvme"), Plan("sata0", "ahci")]
            try await withRig("SIGKILL of droverd under load", plans) { rig in
                try await rig.up()
                let before = try await rig.client.list()
                let workload = try Workload(rig, uri: try await rig.uri("nvme0"), mebibytes: 24, rate: 500)
                try await rig.untilCompleted(500, on: "nvme0")
                try await Self.killSupervisor(rig)
                try await Task.sleep(for: .seconds(1))
                let complaint = try await rig.drover("ps")
                #expect(complaint.status == 3, "droverd does not run")
                let sequence = await rig.events.last
                try await rig.up()
                #expect(workload.isRunning, "fio has to be at work over all of it")
                for ddos in before {
                    let adopted = try await rig.events.wait(.adopted, of: ddos.name, after: sequence, within: .seconds(10))
                    say("\(ddos.name): \(adopted.message)")
                    let now = try await rig.summary(ddos.name)
                    #expect(now.phase == .ready)
                    #expect(now.vmmPID == ddos.vmmPID && now.vmmPID != nil)
                    #expect(now.stubPID == ddos.stubPID && now.stubPID != nil)
                    #expect(now.generation == ddos.generation)
                    #expect(now.restarts == 0)
                }
                let result = try await workload.result()
                #expect(result.errors == 0, "\(result.output)")
                say("\(result.writes) writes, \(result.reads) verified, the slowest request took \(text(seconds: result.slowest))")
                // The new one is in command, not only a spectator.
                let recovery = try await rig.crash("nvme0", .kill)
                say("a VMM killed under the new supervisor: recovered after \(text(seconds: recovery.readySeconds))")
            }
        }

        @Test(.timeLimit(.minutes(10)))
        func aVMMThatDiedWhileNoSupervisorWatchedIsReplacedByTheNextOne() async throws {
            try await withRig("SIGKILL of droverd, then of the VMM", [Plan("nvme0", "nvme")]) { rig in
                try await rig.up()
                let before = try await rig.summary("nvme0")
                let workload = try Workload(rig, uri: try await rig.uri("nvme0"), mebibytes: 8, rate: 500)
                try await rig.untilCompleted(300, on: "nvme0")
                try await Self.killSupervisor(rig)
                if let pid = before.vmmPID { kill(pid, SIGKILL) }
                try await Task.sleep(for: .seconds(1))
                #expect(workload.isRunning, "requests wait while there is no VM and no supervisor")
                try await rig.up()
                let after = try await rig.summary("nvme0")
                #expect(after.generation == before.generation + 1)
                #expect(after.stubPID == before.stubPID)
                let result = try await workload.result()
                #expect(result.errors == 0, "\(result.output)")
                say("life \(after.generation): \(result.writes) writes verified, the slowest took \(text(seconds: result.slowest))")
            }
        }

        @Test(.timeLimit(.minutes(10)))
        func aKilledClientStubIsReplacedAndItsClientsReconnectToTheirData() async throws {
            try await withRig("SIGKILL of the client stub", [Plan("nvme0", "nvme")]) { rig in
                try await rig.up()
                let summary = try await rig.summary("nvme0")
                let (stub, client) = try Self.reconnectingClient(of: summary, seconds: 60, rig)
                try await Self.transfer("write -f -P 0x5a 0 1M", client)
                try await Self.transfer("read -P 0x5a 0 1M", client)

                let sequence = await rig.events.last
                kill(stub, SIGKILL)
                async let read: Void = Self.transfer("read -P 0x5a 0 1M", client)
                let lost = try await rig.events.wait(.stubLost, of: "nvme0", after: sequence, within: .seconds(10))
                say("nvme0: \(lost.message)")
                try await rig.untilReady("nvme0", within: .seconds(90))
                try await read
                try await Self.transfer("write -f -P 0x6b 1M 1M", client)
                try await Self.transfer("read -P 0x6b 1M 1M", client)
                let output = try await client.finish(within: .seconds(30))
                #expect(output.status == 0, "\(output.out) \(output.error)")
                #expect(!output.out.contains("failed"), "\(output.out)")
                try await rig.access(try await rig.uri("nvme0"), "read -P 0x5a 0 1M", "read -P 0x6b 1M 1M")
                let after = try await rig.summary("nvme0")
                #expect(after.stubPID != stub && after.stubPID != nil)
                say("a new stub, pid \(after.stubPID ?? 0); the client reconnected and found its data")
            }
        }

        @Test(.timeLimit(.minutes(10)))
        func aClientStubThatDiedWhileNoSupervisorWatchedIsReplacedByTheNextOne() async throws {
            try await withRig("SIGKILL of droverd, then of the client stub", [Plan("nvme0", "nvme")]) { rig in
                try await rig.up()
                let before = try await rig.summary("nvme0")
                let (stub, client) = try Self.reconnectingClient(of: before, seconds: 120, rig)
                try await Self.transfer("write -f -P 0x5a 0 1M", client)
                try await Self.killSupervisor(rig)
                kill(stub, SIGKILL)
                async let read: Void = Self.transfer("read -P 0x5a 0 1M", client)
                try await Task.sleep(for: .seconds(1))
                try await rig.up()
                try await read
                try await Self.transfer("write -f -P 0x6b 1M 1M", client)
                let output = try await client.finish(within: .seconds(30))
                #expect(output.status == 0 && !output.out.contains("failed"), "\(output.out) \(output.error)")
                try await rig.access(try await rig.uri("nvme0"), "read -P 0x5a 0 1M", "read -P 0x6b 1M 1M")
                let after = try await rig.summary("nvme0")
                #expect(after.stubPID != stub && after.stubPID != nil)
                #expect(after.vmmPID != before.vmmPID, "a VM whose vsock device is gone is of no use")
                #expect(after.generation == before.generation + 1)
                say("a new stub, pid \(after.stubPID ?? 0), life \(after.generation); the client reconnected and found its data")
            }
        }

        /// The client stub, and a qemu-io that looks for its export again for so long when it is gone.
        private static func reconnectingClient(
            of summary: DDOSSummary, seconds: Int, _ rig: Rig
        ) throws -> (stub: Int32, client: RunningCommand) {
            guard let stub = summary.stubPID, let disk = summary.disks.first, let socket = summary.frontEnds.first?.path else {
                throw Failure("\(summary.name) has no stub, disk or socket")
            }
            let image = "driver=nbd,server.type=unix,server.path=\(socket),export=\(disk.name),reconnect-delay=\(seconds)"
            let client = try rig.start(
                Programs.client("stdbuf"), ["-oL", Programs.client("qemu-io"), "--image-opts", image], takesInput: true)
            return (stub, client)
        }

        /// Has qemu-io move a MiB, and waits until it did. One command at a time: it overlooks lines that come together.
        private static func transfer(_ command: String, _ client: RunningCommand) async throws {
            func done() -> Int { client.outputSoFar.components(separatedBy: " 1048576/1048576 ").count }
            let before = done()
            try client.send(command)
            _ = try await eventually("qemu-io: \(command)", within: .seconds(90)) {
                guard client.isRunning else { throw Failure("qemu-io ended: \(client.outputSoFar) \(client.errorSoFar)") }
                return done() > before ? true : nil
            }
        }

        private static func killSupervisor(_ rig: Rig) async throws {
            let pid = try await rig.client.info().pid
            kill(pid, SIGKILL)
            _ = try await eventually("droverd, pid \(pid), is dead", within: .seconds(10)) {
                // Its parent may reap it late.
                let stat = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
                return stat?.isEmpty ?? true ? true : nil
            }
            say("droverd, pid \(pid), killed")
        }
    }
}
