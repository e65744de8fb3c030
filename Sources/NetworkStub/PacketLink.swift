import CLinux
import ClientStub
import LinuxSystem
import StubControl
import VhostUser

/// The network device of one life of a VM, in the stub's loop: its vhost-user connection, its kicks, and the TAP's queues.
struct PacketLink: ~Copyable {
    /// What a tag's value says: which link, and which of its descriptors.
    private enum Source {
        static let socket: UInt64 = 0
        static let firstKick: UInt64 = 1
        static let firstTap: UInt64 = 32
        static let bits: UInt64 = 8
    }

    private let serial: UInt64
    private var connection: BackendConnection<NetworkDevice>
    private var socketIsArmed = false
    /// A bit for each queue, and for each pair.
    private var armedKicks: UInt8 = 0
    private var armedTaps: UInt8 = 0

    /// A VMM's connection; packets go to `tap`, which outlives this value.
    init(vhostUser socket: consuming OwnedDescriptor, tap: borrowing Tap, serial: UInt64) throws(SessionEnd) {
        self.serial = serial
        let device: NetworkDevice
        do { device = try NetworkDevice(tap: tap) } catch {
            throw SessionEnd(.hangUp, "the stub cannot serve packets: \(error.description)")
        }
        do throws(VhostUserError) {
            connection = try BackendConnection(socket: socket, device: device)
        } catch { throw Self.end(error) }
    }

    var counters: PacketCounters { connection.device.counters }
    /// Something is left to do without waiting for anybody.
    var hasWork: Bool { connection.device.hasWork }
    /// Whether the guest's driver serves the first pair: there is a network.
    var isRunning: Bool { connection.device.isRunning(0, connection.rings) }

    /// See ``NetworkDevice/setTakesPackets(_:)``.
    mutating func setTakesPackets(_ takes: Bool) { connection.device.setTakesPackets(takes) }

    // MARK: the loop

    /// Polls every descriptor that is to be polled and is not.
    mutating func arm(_ loop: inout EventLoop, _ tap: borrowing Tap) {
        if !socketIsArmed {
            socketIsArmed = true
            loop.poll(connection.socketDescriptor, events: Int16(POLLIN), tag(Source.socket))
        }
        let changed = connection.device.takeChangedKicks()
        for queue in 0..<(tap.queueCount * 2) {
            let bit = UInt8(1) << UInt8(queue)
            if changed & bit != 0 {
                loop.cancel(tag(Source.firstKick + UInt64(queue)))
                armedKicks &= ~bit
            }
            if armedKicks & bit == 0, let kick = connection.kickDescriptor(queue) {
                armedKicks |= bit
                loop.poll(kick, events: Int16(POLLIN), tag(Source.firstKick + UInt64(queue)))
            }
        }
        for pair in 0..<tap.queueCount where connection.device.wantsPackets(pair, connection.rings) {
            let bit = UInt8(1) << UInt8(pair)
            guard armedTaps & bit == 0 else { continue }
            armedTaps |= bit
            loop.poll(tap.descriptor(pair), events: Int16(POLLIN), tag(Source.firstTap + UInt64(pair)))
        }
    }

    /// Ends every poll; call it before dropping the link.
    mutating func disarm(_ loop: inout EventLoop) {
        loop.cancel(tag(Source.socket))
        for queue in 0..<UInt64(NetworkDevice.queueCount) { loop.cancel(tag(Source.firstKick + queue)) }
        for pair in 0..<UInt64(NetworkDevice.mostPairs) { loop.cancel(tag(Source.firstTap + pair)) }
    }

    private func tag(_ source: UInt64) -> EventTag { EventTag(.frontEnd, serial << Source.bits | source) }

    /// A poll of this link has completed.
    mutating func ready(_ value: UInt64, result: Int32) throws(SessionEnd) {
        guard value >> Source.bits == serial, result != -ECANCELED else { return }
        let source = value & (1 << Source.bits - 1)
        switch source {
        case Source.socket:
            socketIsArmed = false
            do { try connection.handleSocketReadable() } catch { throw Self.end(error) }
        case Source.firstKick..<Source.firstTap:
            let queue = Int(source - Source.firstKick)
            armedKicks &= ~(1 << UInt8(queue))
            connection.clearKick(queue)
            connection.device.kicked(queue)
        default:
            let pair = Int(source - Source.firstTap)
            armedTaps &= ~(1 << UInt8(pair))
            connection.device.becameReadable(pair)
        }
    }

    /// Moves packets, a bounded number of them.
    mutating func serve() throws(SessionEnd) {
        do {
            _ = try connection.device.serve(&connection.rings, rearm: false)
        } catch { throw Self.end(error) }
        connection.rings.publish()
    }

    /// Whether the guest has put something on a transmit queue that was not taken.
    var hasAvailable: Bool {
        for pair in 0..<connection.device.pairCount where connection.rings.hasAvailable(pair * 2 + 1) { return true }
        return false
    }

    /// Asks for kicks, before going to sleep. True: there is something already.
    mutating func enableKicks() -> Bool {
        var found = false
        for pair in 0..<connection.device.pairCount where connection.rings.isRunning(pair * 2 + 1) {
            found = connection.rings.enableKicks(pair * 2 + 1) || found
        }
        return found
    }

    /// Brings the TAP in line with what the driver negotiated and serves.
    mutating func follow(_ tap: inout Tap) throws(SystemError) {
        if connection.device.offloadsAreNews {
            connection.device.offloadsAreNews = false
            try tap.setOffloads(connection.device.offloads)
        }
        for pair in 1..<max(1, tap.queueCount) { try tap.setAttached(pair, connection.device.isRunning(pair, connection.rings)) }
    }

    private static func end(_ error: VhostUserError) -> SessionEnd {
        switch error {
        case .disconnected: SessionEnd(.hangUp, "the VMM is gone")
        case .system(let error): SessionEnd(.hangUp, "packets cannot be moved: \(error.description)")
        default: .violation("the network device: \(error.description)")
        }
    }
}
