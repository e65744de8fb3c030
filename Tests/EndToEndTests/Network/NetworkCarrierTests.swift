import ControlAPI
import ControlModel
import Foundation
import Glibc
import Netlink
import Testing

extension EndToEnd {
    @Suite struct NetworkCarrier {
        /// The cable is pulled out of the NIC and plugged in again; then the DD/OS is down for a while.
        ///
        /// Not with an e1000e: under QEMU 7.2 its driver does not hear of a cable that is pulled out.
        @Test(.timeLimit(.minutes(10)))
        func theHostsCarrierFollowsTheWireAndItsPolicyWhileTheDDOSIsDown() async throws {
            try await withNetwork(
                "carriers", ["e1000", "virtio_net"], carrier: [1: "hold", 2: "drop"], restart: "{ backoff: 1min..1min, quarantine: never }"
            ) { network in
                let rig = network.rig
                try await rig.up()
                for cable in network.cables {
                    try network.lab.configure(cable)
                    try await network.untilLinked(cable)
                    try await network.untilCarrier(cable, true)
                }
                // libvirt lets go of the monitor only with its life. The client stubs do not need it.
                let pid = try await rig.client.info().pid
                kill(pid, SIGKILL)
                for cable in network.cables {
                    let monitor = try await eventually("the monitor of \(network.name(cable))", within: .seconds(10)) {
                        try? MonitorSocket(rig, of: network.name(cable))
                    }
                    for isUp in [false, true] {
                        try monitor.setLink(isUp)
                        try await network.untilCarrier(cable, isUp)
                        say("\(network.name(cable)): the cable is \(isUp ? "plugged in" : "pulled out"), and so is the host's")
                    }
                }
                try await rig.up()
                for cable in network.cables {
                    let name = network.name(cable)
                    #expect(try await rig.client.interface(name).interface.hasCarrier == true)
                    // The first failure is repaired at once, the second after a minute.
                    _ = try await rig.crash(name, .kill)
                    try await network.untilLinked(cable)
                    try await network.untilCarrier(cable, true)
                    let sequence = await rig.events.last
                    try await rig.succeed("inject", name, "kill")
                    _ = try await rig.events.wait(.backingOff, of: name, after: sequence, within: .seconds(60))
                    let holds = cable.number == 1
                    if !holds { try await network.untilCarrier(cable, false) }
                    #expect(try network.lab.link(cable)?.hasCarrier == holds, "carrier: \(holds ? "hold" : "drop")")
                    #expect(try await rig.summary(name).phase == .backingOff, "it was looked at while the DD/OS was down")
                    say("\(name): carrier \(holds ? "held" : "dropped") while it is down")
                }
            }
        }
    }
}

extension NetworkRig {
    /// The host's programs see the cable plugged in, or not.
    fileprivate func untilCarrier(_ cable: NetworkLab.Cable, _ isOn: Bool) async throws {
        _ = try await eventually("\(cable.interface) has \(isOn ? "a" : "no") carrier", within: .seconds(30)) {
            try lab.link(cable)?.hasCarrier == isOn ? true : nil
        }
    }
}
