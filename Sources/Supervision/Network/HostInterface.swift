import CLinux
import Foundation
import Glibc
import LinuxSystem
import Netlink

/// The host's side of one network DD/OS: the interface that programs use, and the end of an emulated NIC's wire. Both are persistent TAP
/// devices: they outlive the DD/OS, its client stub and the supervisor, and end with ``remove(_:)``, which any later supervisor can do from
/// the journal.
///
/// Blocking, for moments: the kernel answers at once.
struct HostInterface {
    var name: String
    var bridge: String?
    var namespace: String?
    /// Of an emulated NIC.
    var wire: String?
    /// The journal's path.
    var journal: String

    enum Outcome: Equatable {
        /// As it was.
        case found
        /// Whoever had the interface open has the dead one open.
        case made
    }

    static func path(ofNamespace name: String) -> String { "/run/netns/" + name }

    /// Sees to it that both are there, as the configuration has them. After an error nothing is there that was not before.
    func ensure() throws -> Outcome {
        var record = InterfaceJournal.load(journal)
        let wireIsNew = try wire.map { try ensureWire($0, &record) } ?? false
        do {
            return try ensureInterface(&record)
        } catch {
            if wireIsNew, let made = record.wire {
                try Self.remove(made)
                record.wire = nil
                try record.save(journal)
            }
            throw error
        }
    }

    private func ensureInterface(_ record: inout InterfaceJournal) throws -> Outcome {
        if let made = record.interface {
            let isAsConfigured = made.name == name && made.namespace == namespace && made.bridge == bridge
            if isAsConfigured, try Self.exists(made) { return .found }
            try Self.remove(made)
            record.interface = nil
        }
        var next = record
        try Self.inside(namespace) { () throws(InterfaceError) in
            let master = try bridge.map { bridge throws(InterfaceError) in try Self.find(bridge: bridge, namespace) }
            var device: TapDevice
            do throws(InterfaceError) {
                device = try TapDevice(name: name)
            } catch {
                // It knows the thread's namespace, not its name.
                guard case .nameTaken(let name, let kind, _) = error else { throw error }
                throw .nameTaken(name: name, kind: kind, namespace: namespace)
            }
            if let master { try Self.join(device, master) }
            let mark = try Self.mark(device)
            next.interface = InterfaceJournal.Made(
                name: name, index: device.index, mark: mark, namespace: namespace, bridge: bridge)
            try Self.save(next, journal, about: name)
            try device.persist()
        }
        record = next
        return .made
    }

    /// An existing TAP device is used as it is; a new one is up, so that packets pass. True: it is new.
    private func ensureWire(_ tap: String, _ record: inout InterfaceJournal) throws -> Bool {
        if let made = record.wire {
            if made.name == tap, try Self.exists(made) { return false }
            try Self.remove(made)
            record.wire = nil
        }
        var links = try Self.socket(nil)
        if let link = try? links.link(named: tap) {
            guard link.kind == "tun" else { throw InterfaceError.notATap(name: tap, kind: link.kind) }
            return false
        }
        var device = try TapDevice(name: tap)
        record.wire = InterfaceJournal.Made(name: tap, index: device.index, mark: try Self.mark(device))
        try Self.save(record, journal, about: tap)
        var change = LinkChange()
        change.isUp = true
        try Self.apply(change, "bring up", device.index, tap, &links)
        try device.persist()
        return true
    }

    private static func save(_ record: InterfaceJournal, _ path: String, about name: String) throws(InterfaceError) {
        do throws(SupervisionError) {
            try record.save(path)
        } catch {
            throw .refused(operation: "keep a record of", name: name, reason: "\(error)")
        }
    }

    /// Gives the interface the NIC's address and MTU. Nothing happens where it has them.
    static func update(_ made: InterfaceJournal.Made, mac: String, mtu: UInt32) throws(InterfaceError) {
        var links = try socket(made.namespace)
        let link: Link
        do throws(NetlinkError) {
            link = try links.link(made.index)
            guard isOurs(link, made) else { throw NetlinkError(code: ENODEV, request: "look up link") }
        } catch {
            throw InterfaceError(error, "look at", made.name)
        }
        if link.mtu != mtu {
            var change = LinkChange()
            change.mtu = mtu
            try apply(change, "set the MTU \(mtu) of", made.index, made.name, &links)
        }
        if let address = MACAddress(text: mac), address.isUnicast, link.mac != address {
            var change = LinkChange()
            change.mac = address
            try apply(change, "set the MAC address \(address) of", made.index, made.name, &links)
        }
    }

    /// Removes everything that the journal tells of, and the journal. What is gone already is no error.
    static func remove(_ journal: String) throws {
        let record = InterfaceJournal.load(journal)
        for made in [record.interface, record.wire].compactMap(\.self) { try remove(made) }
        unlink(journal)
    }

    // MARK: steps

    /// Not by its name: an administrator may have given it another one.
    private static func isOurs(_ link: Link, _ made: InterfaceJournal.Made) -> Bool { link.kind == "tun" && link.alias == made.mark }

    /// Gives a device in the making an alias that no other has.
    private static func mark(_ device: borrowing TapDevice) throws(InterfaceError) -> String {
        var change = LinkChange()
        let mark = "drover " + UUID().uuidString.lowercased()
        change.alias = mark
        do throws(NetlinkError) {
            var links = try LinkSocket()
            try links.change(device.index, change)
        } catch {
            throw InterfaceError(error, "mark", device.name)
        }
        return mark
    }

    private static func exists(_ made: InterfaceJournal.Made) throws(InterfaceError) -> Bool {
        do {
            var links = try socket(made.namespace)
            return isOurs(try links.link(made.index), made)
        } catch let error as NetlinkError {
            if error.code == ENODEV { return false }
            throw InterfaceError(error, "look at", made.name)
        } catch InterfaceError.namespaceMissing {
            return false
        } catch {
            throw .refused(operation: "look at", name: made.name, reason: "\(error)")
        }
    }

    private static func remove(_ made: InterfaceJournal.Made) throws(InterfaceError) {
        guard try exists(made) else { return }
        var links = try socket(made.namespace)
        do throws(NetlinkError) {
            try links.delete(made.index)
        } catch {
            if error.code != ENODEV { throw InterfaceError(error, "remove", made.name) }
        }
    }

    private static func find(bridge: String, _ namespace: String?) throws(InterfaceError) -> Int32 {
        do throws(NetlinkError) {
            var links = try LinkSocket()
            let link = try links.link(named: bridge)
            guard link.kind == "bridge" else { throw NetlinkError(code: ENOTTY, request: "look up link", detail: link.kind) }
            return link.index
        } catch {
            if error.code == ENOTTY { throw .notABridge(name: bridge, kind: error.detail) }
            if error.code == ENODEV { throw .bridgeMissing(bridge: bridge, namespace: namespace) }
            throw InterfaceError(error, "look at", bridge)
        }
    }

    /// A port of a bridge has no use for an address of its own, so it is up from the start.
    private static func join(_ device: borrowing TapDevice, _ master: Int32) throws(InterfaceError) {
        do throws(NetlinkError) {
            var links = try LinkSocket()
            var change = LinkChange()
            change.master = master
            try links.change(device.index, change)
            var up = LinkChange()
            up.isUp = true
            try links.change(device.index, up)
        } catch {
            throw InterfaceError(error, "put into the bridge", device.name)
        }
    }

    private static func apply(
        _ change: LinkChange, _ operation: String, _ index: Int32, _ name: String, _ links: inout LinkSocket
    ) throws(InterfaceError) {
        do throws(NetlinkError) {
            try links.change(index, change)
        } catch {
            throw InterfaceError(error, operation, name)
        }
    }

    private static func socket(_ namespace: String?) throws(InterfaceError) -> LinkSocket {
        do throws(NetlinkError) {
            guard let namespace else { return try LinkSocket() }
            return try LinkSocket(namespace: path(ofNamespace: namespace))
        } catch {
            throw missing(namespace, error)
        }
    }

    /// Runs `body` with this thread in the namespace.
    private static func inside<Result>(
        _ namespace: String?, _ body: () throws(InterfaceError) -> Result
    ) throws(InterfaceError) -> Result {
        guard let namespace else { return try body() }
        var result: Swift.Result<Result, InterfaceError>?
        do throws(NetlinkError) {
            try NetworkNamespace(path: path(ofNamespace: namespace)).perform { () throws(NetlinkError) in
                do throws(InterfaceError) {
                    result = .success(try body())
                } catch {
                    result = .failure(error)
                }
            }
        } catch {
            throw missing(namespace, error)
        }
        guard let result else { throw .namespaceMissing(namespace: namespace) }
        return try result.get()
    }

    private static func missing(_ namespace: String?, _ error: NetlinkError) -> InterfaceError {
        switch (namespace, error.code) {
        // EINVAL: the file is there, and no namespace is mounted on it.
        case (let namespace?, ENOENT), (let namespace?, EINVAL): .namespaceMissing(namespace: namespace)
        case (let namespace?, _): InterfaceError(error, "enter the network namespace", namespace)
        case (nil, _): InterfaceError(error, "ask the kernel for", "links")
        }
    }
}
