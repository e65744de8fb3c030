import ControlModel
import DroverConfiguration
import StubControl

/// `drover net`: the slow path, from the supervisor to the driver in the DD/OS and back.
extension DDOSRunner {
    var interfaceSummary: InterfaceSummary? {
        guard let place = configuration.network?.interface else { return nil }
        var summary = InterfaceSummary(name: place.name, namespace: place.namespace, bridge: place.bridge)
        if let interface { summary.take(interface) }
        return summary
    }

    func interfaceDetail() async throws(ControlError) -> InterfaceDetail {
        let connection = try connectionToInterface()
        if machine.phase == .ready { take(try await ask(.describe, connection)) }
        return try await detail(connection)
    }

    /// The driver is asked first: what it refuses is not remembered, and the host's interface stays as it is.
    func change(_ change: InterfaceChange) async throws(ControlError) -> InterfaceDetail {
        try change.check()
        let connection = try connectionToInterface()
        guard machine.phase == .ready else {
            throw ControlError(.conflict, "'\(name)' is \(machine.phase.rawValue): its driver can be asked when it is ready")
        }
        let settings = StubInterfaceSettings(change)
        let after = try await ask(.set(settings), connection)
        let path = place.run.interfaceJournal(name)
        var journal = InterfaceJournal.load(path)
        journal.settings = (journal.settings ?? StubInterfaceSettings()).merging(settings)
        do {
            try journal.save(path)
        } catch {
            throw ControlError(.failed, "the change is in force, but will not outlive the client stub: \(error)")
        }
        if let sentence = take(after) {
            throw ControlError(.failed, "\(name): the driver has made the change, but \(sentence)")
        }
        return try await detail(connection)
    }

    private func connectionToInterface() throws(ControlError) -> StubConnection {
        guard configuration.network != nil else {
            throw ControlError(.invalid, "'\(name)' is of class \(configuration.deviceClass.rawValue) and has no interface")
        }
        guard let connection = stub?.connection else {
            throw ControlError(
                .conflict, "'\(name)' is \(machine.phase.rawValue) and has no client stub; start it with 'drover start \(name)'")
        }
        return connection
    }

    private func ask(_ request: StubInterfaceRequest, _ connection: StubConnection) async throws(ControlError) -> StubInterface {
        switch try await call(request, connection) {
        case .interface(let interface): return interface
        default: throw ControlError(.failed, "the client stub of '\(name)' answered something else")
        }
    }

    private func call(_ request: StubInterfaceRequest, _ connection: StubConnection) async throws(ControlError) -> StubReply {
        do throws(SupervisionError) {
            // A driver may reset its NIC to change it.
            return try await connection.call(.interface(request), seconds: 20)
        } catch {
            switch error {
            case .stubRefused(_, _, let reason): throw ControlError(.conflict, "\(name): \(reason)")
            case .stubSilent: throw ControlError(.timedOut, "\(error)")
            default: throw ControlError(.unavailable, "\(error)")
            }
        }
    }

    private func detail(_ connection: StubConnection) async throws(ControlError) -> InterfaceDetail {
        guard let interface, let summary = interfaceSummary else {
            throw ControlError(.conflict, "'\(name)' is \(machine.phase.rawValue) and its NIC not known yet; try again when it is ready")
        }
        var result = InterfaceDetail(summary, interface, of: name, machine.phase)
        if let packets = (try? await connection.status(seconds: 5))?.packets { result.packets = PacketCounters(packets) }
        // A DD/OS that just went away has no statistics; the rest is as last heard.
        if machine.phase == .ready, case .statistics(let list)? = try? await call(.statistics, connection) {
            result.statistics = list.map { DriverStatistic(name: $0.name, value: $0.value) }
        }
        return result
    }
}

extension InterfaceSummary {
    fileprivate mutating func take(_ interface: StubInterface) {
        driver = interface.driver
        mac = interface.mac
        mtu = Int(interface.mtu)
        hasCarrier = interface.hasCarrier
        speed = interface.speed.map { Int($0) }
    }
}

extension InterfaceDetail {
    fileprivate init(_ summary: InterfaceSummary, _ interface: StubInterface, of name: String, _ phase: DDOSPhase) {
        self.init(
            ddos: name, phase: phase, interface: summary, driverVersion: interface.driverVersion,
            firmwareVersion: interface.firmwareVersion, busInfo: interface.busInfo, permanentMAC: interface.permanentMAC,
            smallestMTU: Int(interface.smallestMTU), largestMTU: Int(interface.largestMTU), isFullDuplex: interface.isFullDuplex,
            isPromiscuous: interface.isPromiscuous)
        ring = interface.ring.map {
            InterfaceRing(
                receive: Int($0.receive), receiveMost: Int($0.receiveMost), transmit: Int($0.transmit), transmitMost: Int($0.transmitMost))
        }
        coalescing = interface.coalescing.map {
            InterfaceCoalescing(
                receiveMicroseconds: $0.receiveMicroseconds.map { Int($0) }, receiveFrames: $0.receiveFrames.map { Int($0) },
                transmitMicroseconds: $0.transmitMicroseconds.map { Int($0) }, transmitFrames: $0.transmitFrames.map { Int($0) })
        }
    }
}

extension PacketCounters {
    fileprivate init(_ counters: StubInterfaceCounters) {
        self.init()
        receivedPackets = counters.receivedPackets
        receivedBytes = counters.receivedBytes
        sentPackets = counters.sentPackets
        sentBytes = counters.sentBytes
        droppedPackets = counters.droppedPackets
    }
}

extension StubInterfaceSettings {
    /// ``InterfaceChange/check()`` has seen that the numbers fit.
    fileprivate init(_ change: InterfaceChange) {
        self.init()
        mac = change.mac
        mtu = change.mtu.map { UInt32(clamping: $0) }
        isPromiscuous = change.isPromiscuous
        receiveRing = change.receiveRing.map { UInt32(clamping: $0) }
        transmitRing = change.transmitRing.map { UInt32(clamping: $0) }
        coalescing = change.coalescing.map {
            StubCoalescing(
                receiveMicroseconds: $0.receiveMicroseconds.map { UInt32(clamping: $0) },
                receiveFrames: $0.receiveFrames.map { UInt32(clamping: $0) },
                transmitMicroseconds: $0.transmitMicroseconds.map { UInt32(clamping: $0) },
                transmitFrames: $0.transmitFrames.map { UInt32(clamping: $0) })
        }
    }
}
