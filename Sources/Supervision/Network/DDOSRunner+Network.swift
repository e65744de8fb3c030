import ControlModel
import DroverConfiguration
import Foundation
import StubControl

extension RunDirectory {
    func interfaceJournal(_ name: String) -> String { ddos(name) + "/interface.json" }
    func packetSocket(_ name: String) -> String { ddos(name) + "/net.sock" }
}

/// What a network DD/OS has beside the rest: an interface of the host's, which is there before its client stub and after it.
extension DDOSRunner {
    private var hostInterface: HostInterface? {
        guard let interface = configuration.network?.interface else { return nil }
        var wire: String?
        if case .emulatedNIC(_, let end, _) = configuration.device { wire = end.tap }
        return HostInterface(
            name: interface.name, bridge: interface.bridge, namespace: interface.namespace, wire: wire,
            journal: place.run.interfaceJournal(name))
    }

    /// Before a stub is started, and before each life. A block DD/OS has none; what it had as a network DD/OS goes.
    func ensureInterface() async throws {
        guard let hostInterface else { return removeInterface() }
        guard try hostInterface.ensure() == .made else { return }
        // It has an address of its own, and the usual MTU.
        isInterfaceUnchecked = true
        // Somebody removed the interface: the stub has a dead one open.
        if stub != nil { await dropStub() }
    }

    /// With `drover down`. What the journal tells of, whatever class the DD/OS is of now.
    func removeInterface() {
        do {
            try HostInterface.remove(place.run.interfaceJournal(name))
        } catch {
            place.log.append(.warning, "its interface is left: \(error)", ddos: name)
        }
    }

    /// Instead of what a block DD/OS's stub is told; nil for a block DD/OS.
    var networkStubArguments: [String]? {
        guard let interface = configuration.network?.interface else { return nil }
        var arguments = [
            "--class", "network", "--name", name, "--directory", place.run.ddos(name), "--cid", "\(cid)", "--tap", interface.name,
            "--carrier", interface.carrier.rawValue, "--ping-timeout", "\(configuration.requests.pingTimeout.seconds)", "--log-level",
            place.logLevel,
        ]
        // The kernel took it away with the last descriptor of the stub that died; one that was stopped gave it up.
        let isRecovering = machine.record.down != nil && machine.phase != .quarantined
        if isRecovering, self.interface?.hasCarrier == true { arguments.append("--carrier-was-on") }
        if let namespace = interface.namespace { arguments += ["--tap-namespace", HostInterface.path(ofNamespace: namespace)] }
        return arguments
    }

    /// For the guest's kernel command line.
    var networkParameters: [String] {
        configuration.deviceClass == .network ? ["drover.class=network", "drover.channel=0000:00:13.0"] : []
    }

    /// Tells a new stub what to set in the NIC in each life.
    func rememberSettings(_ connection: StubConnection) async throws {
        guard let network = configuration.network else { return }
        let changed = InterfaceJournal.load(place.run.interfaceJournal(name)).settings
        let settings = StubInterfaceSettings(network.settings).merging(changed)
        guard settings != StubInterfaceSettings() else { return }
        _ = try await connection.call(.interface(.set(settings)), seconds: 5)
    }

    /// What the NIC's driver says now. The host's interface follows it.
    /// - Returns: why it does not, as a sentence; nil: it does.
    @discardableResult
    func take(_ now: StubInterface) -> String? {
        let before = interface
        interface = now
        if let before, before.hasCarrier != now.hasCarrier {
            let speed = now.speed.map { ", \($0) Mbit/s" } ?? ""
            place.log.append(.linkChanged, now.hasCarrier ? "the wire is connected\(speed)" : "the wire is disconnected", ddos: name)
        }
        if before?.mac != now.mac || before?.mtu != now.mtu { isInterfaceUnchecked = true }
        guard isInterfaceUnchecked, let made = InterfaceJournal.load(place.run.interfaceJournal(name)).interface else { return nil }
        do {
            try HostInterface.update(made, mac: now.mac, mtu: now.mtu)
            isInterfaceUnchecked = false
            return nil
        } catch {
            let sentence = "the interface does not follow its NIC: \(error)"
            place.log.append(.warning, sentence, ddos: name)
            return sentence
        }
    }
}

extension StubInterfaceSettings {
    init(_ settings: InterfaceSettings) {
        self.init()
        mac = settings.mac
        mtu = settings.mtu.map { UInt32($0) }
        isPromiscuous = settings.promiscuous
        receiveRing = settings.receiveRing.map { UInt32($0) }
        transmitRing = settings.transmitRing.map { UInt32($0) }
        let coalescing = StubCoalescing(
            receiveMicroseconds: settings.receiveMicroseconds.map { UInt32($0) }, receiveFrames: settings.receiveFrames.map { UInt32($0) },
            transmitMicroseconds: settings.transmitMicroseconds.map { UInt32($0) },
            transmitFrames: settings.transmitFrames.map { UInt32($0) })
        if coalescing != StubCoalescing() { self.coalescing = coalescing }
    }

    /// Where both say something, the later one counts.
    func merging(_ later: StubInterfaceSettings?) -> StubInterfaceSettings {
        guard let later else { return self }
        var result = self
        result.mac = later.mac ?? mac
        result.mtu = later.mtu ?? mtu
        result.isPromiscuous = later.isPromiscuous ?? isPromiscuous
        result.receiveRing = later.receiveRing ?? receiveRing
        result.transmitRing = later.transmitRing ?? transmitRing
        if let new = later.coalescing {
            var merged = coalescing ?? StubCoalescing()
            merged.receiveMicroseconds = new.receiveMicroseconds ?? merged.receiveMicroseconds
            merged.receiveFrames = new.receiveFrames ?? merged.receiveFrames
            merged.transmitMicroseconds = new.transmitMicroseconds ?? merged.transmitMicroseconds
            merged.transmitFrames = new.transmitFrames ?? merged.transmitFrames
            result.coalescing = merged
        }
        return result
    }
}
