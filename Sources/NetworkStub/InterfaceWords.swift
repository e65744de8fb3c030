import StubControl
import VirtioNet

// Between the words of the control socket and those of the network device's control commands.

extension StubInterface {
    /// What a driver says of its NIC.
    init(_ description: NetDescription) {
        self.init(driver: description.driver, mac: MACText.text(description.mac), mtu: description.mtu)
        let flags = description.flags
        driverVersion = description.driverVersion
        firmwareVersion = description.firmwareVersion
        busInfo = description.busAddress
        permanentMAC = description.permanentMAC == 0 ? "" : MACText.text(description.permanentMAC)
        smallestMTU = description.smallestMTU
        largestMTU = description.largestMTU
        hasCarrier = flags.contains(.carrier)
        speed = flags.contains(.knowsSpeed) ? description.speed : nil
        isFullDuplex = flags.contains(.knowsDuplex) ? flags.contains(.fullDuplex) : nil
        isPromiscuous = flags.contains(.promiscuous)
        if flags.contains(.hasRing) {
            ring = StubRing(
                receive: description.receiveRing, receiveMost: description.receiveRingMost, transmit: description.transmitRing,
                transmitMost: description.transmitRingMost)
        }
        let times = StubCoalescing(
            receiveMicroseconds: flags.contains(.hasReceiveMicroseconds) ? description.receiveMicroseconds : nil,
            receiveFrames: flags.contains(.hasReceivePackets) ? description.receivePackets : nil,
            transmitMicroseconds: flags.contains(.hasTransmitMicroseconds) ? description.transmitMicroseconds : nil,
            transmitFrames: flags.contains(.hasTransmitPackets) ? description.transmitPackets : nil)
        if times != StubCoalescing() { coalescing = times }
    }

    /// Whether the device's configuration says nothing that differs.
    func shows(_ configuration: VirtioNetConfiguration) -> Bool {
        let speed = configuration.speed == VirtioNetConfiguration.unknownSpeed ? nil : configuration.speed
        let isFullDuplex = configuration.duplex == VirtioNetConfiguration.unknownDuplex ? nil : configuration.duplex == 1
        return MACText.text(configuration.mac) == mac && UInt32(configuration.mtu) == mtu && configuration.hasLink == hasCarrier
            && speed == self.speed && isFullDuplex == self.isFullDuplex
    }
}

extension StubInterfaceSettings {
    /// These, and where they say nothing, those of `older`.
    func over(_ older: StubInterfaceSettings) -> StubInterfaceSettings {
        var all = older
        if let mac { all.mac = mac }
        if let mtu { all.mtu = mtu }
        if let isPromiscuous { all.isPromiscuous = isPromiscuous }
        if let receiveRing { all.receiveRing = receiveRing }
        if let transmitRing { all.transmitRing = transmitRing }
        if let coalescing {
            var times = all.coalescing ?? StubCoalescing()
            times.receiveMicroseconds = coalescing.receiveMicroseconds ?? times.receiveMicroseconds
            times.receiveFrames = coalescing.receiveFrames ?? times.receiveFrames
            times.transmitMicroseconds = coalescing.transmitMicroseconds ?? times.transmitMicroseconds
            times.transmitFrames = coalescing.transmitFrames ?? times.transmitFrames
            all.coalescing = times
        }
        return all
    }

    /// The steps that bring these settings about, in the order in which they are taken: what resets a NIC comes first.
    var steps: [InterfaceStep] {
        var steps: [InterfaceStep] = []
        if receiveRing != nil || transmitRing != nil {
            steps.append(
                InterfaceStep(
                    "ring sizes",
                    .setRing(receive: receiveRing ?? NetControlCommand.leave, transmit: transmitRing ?? NetControlCommand.leave)))
        }
        if let mtu { steps.append(InterfaceStep("an MTU of \(mtu)", .setMTU(mtu))) }
        if let mac, let address = MACText.address(mac) { steps.append(InterfaceStep("the address \(mac)", .setMAC(address))) }
        if let isPromiscuous { steps.append(InterfaceStep("promiscuous mode", .setPromiscuous(isPromiscuous))) }
        if let times = coalescing {
            let leave = NetControlCommand.leave
            if times.receiveMicroseconds != nil || times.receiveFrames != nil {
                steps.append(
                    InterfaceStep(
                        "interrupt coalescing",
                        .setReceiveCoalescing(packets: times.receiveFrames ?? leave, microseconds: times.receiveMicroseconds ?? leave)))
            }
            if times.transmitMicroseconds != nil || times.transmitFrames != nil {
                steps.append(
                    InterfaceStep(
                        "interrupt coalescing",
                        .setTransmitCoalescing(packets: times.transmitFrames ?? leave, microseconds: times.transmitMicroseconds ?? leave)))
            }
        }
        return steps
    }

    /// Why these settings cannot be, for an interface that is described so; nil: nothing speaks against them here.
    func objection(to interface: StubInterface) -> String? {
        if let mac, MACText.address(mac) == nil { return "\(mac) is no address of one station: write it like 52:54:00:12:34:56" }
        if let mtu, mtu < interface.smallestMTU || mtu > interface.largestMTU {
            return "the driver \(interface.driver) takes MTUs from \(interface.smallestMTU) to \(interface.largestMTU), not \(mtu)"
        }
        if receiveRing != nil || transmitRing != nil {
            guard let ring = interface.ring else { return "the driver \(interface.driver) has no say in its ring sizes" }
            if let receiveRing, receiveRing == 0 || receiveRing > ring.receiveMost {
                return "the driver \(interface.driver) takes receive rings of up to \(ring.receiveMost), not \(receiveRing)"
            }
            if let transmitRing, transmitRing == 0 || transmitRing > ring.transmitMost {
                return "the driver \(interface.driver) takes transmit rings of up to \(ring.transmitMost), not \(transmitRing)"
            }
        }
        if coalescing != nil, interface.coalescing == nil { return "the driver \(interface.driver) has no say in interrupt coalescing" }
        return nil
    }

    /// The same settings as they are now: what undoes a change that went wrong half-way.
    func before(_ interface: StubInterface) -> StubInterfaceSettings {
        var old = StubInterfaceSettings()
        if mac != nil { old.mac = interface.mac }
        if mtu != nil { old.mtu = interface.mtu }
        if isPromiscuous != nil { old.isPromiscuous = interface.isPromiscuous }
        if receiveRing != nil { old.receiveRing = interface.ring?.receive }
        if transmitRing != nil { old.transmitRing = interface.ring?.transmit }
        if coalescing != nil { old.coalescing = interface.coalescing }
        return old
    }
}

/// One control command, and what a person calls it.
struct InterfaceStep: Equatable {
    var name: String
    var command: NetControlCommand

    init(_ name: String, _ command: NetControlCommand) {
        self.name = name
        self.command = command
    }
}

/// Ethernet addresses as people write them; as numbers, the first octet highest.
enum MACText {
    static func text(_ address: UInt64) -> String {
        (0..<6).map { index in
            let octet = UInt8(truncatingIfNeeded: address >> UInt64(40 - 8 * index))
            return (octet < 16 ? "0" : "") + String(octet, radix: 16)
        }.joined(separator: ":")
    }

    /// Nil: no address of one station.
    static func address(_ text: String) -> UInt64? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6 else { return nil }
        var address: UInt64 = 0
        for part in parts {
            guard part.utf8.count == 2, !part.hasPrefix("+"), !part.hasPrefix("-"), let octet = UInt8(part, radix: 16) else { return nil }
            address = address << 8 | UInt64(octet)
        }
        return address != 0 && address >> 40 & 1 == 0 ? address : nil
    }
}
