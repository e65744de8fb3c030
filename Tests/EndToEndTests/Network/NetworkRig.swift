import ControlAPI
import ControlModel
import Foundation
import Netlink
import Testing

/// What a network test works with.
struct NetworkRig {
    let rig: Rig
    let lab: NetworkLab
    let cables: [NetworkLab.Cable]

    func name(_ cable: NetworkLab.Cable) -> String { "n\(cable.number)" }

    /// A real client in one of the namespaces; its output.
    @discardableResult
    func run(_ namespace: String, _ arguments: String..., within limit: Duration = .seconds(60)) async throws -> String {
        let output = try await rig.start("/usr/sbin/ip", ["netns", "exec", namespace] + arguments).finish(within: limit)
        guard output.status == 0 else {
            throw Failure("'\(arguments.joined(separator: " "))' ended with \(output.status): \(output.out.suffix(500)) \(output.error)")
        }
        return output.out
    }

    /// Into the wire, out of it, or both: 64-bit words that follow from their place.
    func transfer(
        _ cable: NetworkLab.Cable, toWire: Bool, bytes: Int, rate: Int? = nil, port: UInt16 = 5001, version6: Bool = false
    ) throws -> TCPTransfer {
        let (from, to) = toWire ? (lab.host, lab.wire) : (lab.wire, lab.host)
        let address =
            toWire
            ? (version6 ? cable.wireAddress6 : cable.wireAddress) : (version6 ? cable.hostAddress6 : cable.hostAddress)
        return try TCPTransfer(from: from, to: to, address: address, bytes: bytes, rate: rate, port: port)
    }

    func flow(_ cable: NetworkLab.Cable, toWire: Bool, count: Int, rate: Int, port: UInt16 = 5002) throws -> UDPFlow {
        let (from, to) = toWire ? (lab.host, lab.wire) : (lab.wire, lab.host)
        return try UDPFlow(
            from: from, to: to, address: toWire ? cable.wireAddress : cable.hostAddress, count: count, rate: rate, port: port)
    }

    /// A NIC negotiates with the other end of its wire, for seconds, at its start and when it is reset; meanwhile packets go nowhere.
    func untilLinked(_ cable: NetworkLab.Cable) async throws {
        try await Task.sleep(for: .milliseconds(500))
        _ = try await eventually("\(name(cable)) has a link", within: .seconds(20)) {
            try await rig.client.interface(name(cable)).interface.hasCarrier == true ? true : nil
        }
    }

    /// Waits until a stream has more. Where it stands still, what it stands still in is printed, twice, so that what moves can be told from what does not.
    func untilReceived(_ more: Int, of stream: TCPTransfer, through cable: NetworkLab.Cable, within limit: Duration) async throws {
        do { try await stream.untilReceived(stream.received + more, within: limit) } catch {
            for _ in 1...2 { say("a stream stands still\n" + (await picture(cable))) }
            throw error
        }
    }

    /// The interface, the NIC, the other end of the wire, and the sockets at both.
    private func picture(_ cable: NetworkLab.Cable) async -> String {
        var parts: [String] = []
        for (namespace, device) in [(lab.host, cable.interface), (lab.wire, cable.end)] {
            for words in [["ip", "-s", "-s", "addr", "show", device], ["ip", "neigh"], ["ss", "-tinm"]] {
                let output = try? await rig.start("/usr/sbin/ip", ["netns", "exec", namespace] + words).finish(within: .seconds(20))
                parts.append("\(namespace): \(words.joined(separator: " "))\n" + (output.map { $0.out + $0.error } ?? "no answer"))
            }
        }
        for verb in ["net", "inspect", "logs"] {
            let output = try? await rig.drover(verb, name(cable), within: .seconds(20))
            parts.append("drover \(verb) \(name(cable))\n" + (output.map { $0.out + $0.error } ?? "no answer"))
        }
        return parts.joined(separator: "\n")
    }

    /// The interface has the NIC's address and MTU, as an unsuspecting program sees them.
    func expectInterface(_ cable: NetworkLab.Cable, mtu: Int) async throws {
        _ = try await eventually("\(cable.interface) has the address and the MTU of its NIC", within: .seconds(10)) {
            guard let link = try lab.link(cable) else { throw Failure("there is no \(cable.interface)") }
            return link.mac?.description == cable.mac && Int(link.mtu) == mtu ? true : nil
        }
    }
}

/// Gives `body` a supervisor, one DD/OS for each NIC model, and the wires; takes all of it down whatever happens. `more`: a line of configuration
/// for a DD/OS, by its number; `carrier`: its interface's policy.
func withNetwork(
    _ title: String, _ models: [String], image: String? = nil, more: [Int: String] = [:], carrier: [Int: String] = [:],
    restart: String? = nil,
    body: (NetworkRig) async throws -> Void
) async throws {
    try await withNetwork(
        title, cables: { lab in try models.indices.map { try lab.cable($0 + 1) } },
        plan: { lab, cable in
            let model = models[cable.number - 1]
            return """
                  n\(cable.number):
                    class: network
                    device: { emulated: \(model), wire: { tap: \(cable.tap) }, mac: "\(cable.mac)" }
                    interface: { name: \(cable.interface), namespace: \(lab.host), carrier: \(carrier[cable.number] ?? "hold") }
                    restart: \(restart ?? Plan("", "").restart)
                    requests: { pingTimeout: 3s }
                \((image.map { "    image: \($0)\n" } ?? "") + (more[cable.number].map { "    \($0)\n" } ?? ""))
                """
        }, body: body)
}

/// As above, with these wires, and the DD/OS of each. That nothing of the host's network is left after `drover down` is part of every test.
func withNetwork(
    _ title: String, cables make: (NetworkLab) throws -> [NetworkLab.Cable], plan: (NetworkLab, NetworkLab.Cable) -> String,
    body: (NetworkRig) async throws -> Void
) async throws {
    let lab = try NetworkLab()
    let result: Result<Void, any Error>
    do {
        let cables = try make(lab)
        let plans = cables.map { cable in Plan("n\(cable.number)", "").with { $0.text = plan(lab, cable) } }
        try await withRig(title, plans) { try await body(NetworkRig(rig: $0, lab: lab, cables: cables)) }
        for cable in cables { #expect(try lab.link(cable) == nil, "\(cable.interface) is gone after 'drover down'") }
        result = .success(())
    } catch {
        result = .failure(error)
    }
    #expect(lab.cleanUp() == [], "left behind")
    try result.get()
}
