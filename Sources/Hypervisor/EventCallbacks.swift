import CLibvirt
import Foundation
import Synchronization

/// libvirt's callbacks, turned into ``VirtualMachineEvent``s. They run on the event loop's thread and only hand on.
final class EventCallbacks: Sendable {
    private let continuation: AsyncStream<VirtualMachineEvent>.Continuation
    private let registrations = Mutex(Registrations())
    /// Lives that ``Hypervisor/destroy(_:deadline:)`` is ending: it kills the VMM, which libvirt takes for a failure.
    private let ending = Mutex<Set<String>>([])
    /// Lives whose panic was reported: libvirt tells it three times in its own ways.
    private let panicked = Mutex<Set<UUID>>([])
    /// Lives whose disk was reported: QEMU tells it of every request.
    private let diskFailed = Mutex<Set<UUID>>([])

    private struct Registrations {
        var domain: [Int32] = []
        var monitor: [Int32] = []
    }

    init(_ continuation: AsyncStream<VirtualMachineEvent>.Continuation) {
        self.continuation = continuation
    }

    func finish() { continuation.finish() }

    func willEnd(uuid: String) { ending.withLock { _ = $0.insert(uuid) } }

    func register(_ connection: Connection) throws(HypervisorError) {
        // Each registration holds a reference to this object, which libvirt gives back when the callback is taken off.
        func box() -> UnsafeMutableRawPointer { Unmanaged.passRetained(self).toOpaque() }
        let release: virFreeCallback = { box in
            guard let box else { return }
            Unmanaged<EventCallbacks>.fromOpaque(box).release()
        }
        func add(_ list: WritableKeyPath<Registrations, [Int32]>, _ number: Int32) throws(HypervisorError) {
            guard number >= 0 else { throw .libvirt(operation: "watch for events", message: LibvirtError.last().message) }
            registrations.withLock { $0[keyPath: list].append(number) }
        }
        try add(
            \.domain,
            clibvirt_register_lifecycle(
                connection.pointer,
                { _, domain, event, detail, box in
                    EventCallbacks.from(box)?.lifecycle(domain, event: event, detail: detail)
                    return 0
                }, box(), release))
        try add(
            \.domain,
            clibvirt_register_watchdog(
                connection.pointer, { _, domain, _, box in EventCallbacks.from(box)?.emit(domain, .watchdog) }, box(), release))
        try add(
            \.domain,
            clibvirt_register_reboot(
                connection.pointer, { _, domain, box in EventCallbacks.from(box)?.emit(domain, .guestReset) }, box(), release))
        try add(
            \.monitor,
            virConnectDomainQemuMonitorEventRegister(
                connection.pointer, nil, "GUEST_PANICKED",
                { _, domain, _, _, _, _, box in EventCallbacks.from(box)?.emit(domain, .panicked) }, box(), release, 0))
        try add(
            \.monitor,
            virConnectDomainQemuMonitorEventRegister(
                connection.pointer, nil, "BLOCK_IO_ERROR",
                { _, domain, _, _, _, _, box in EventCallbacks.from(box)?.emit(domain, .diskFailed(stops: false)) }, box(), release, 0))
    }

    /// Before the connection is closed. No callback runs after libvirt has released the boxes.
    func deregister(_ connection: Connection) {
        let all = registrations.withLock { registrations in
            defer { registrations = Registrations() }
            return registrations
        }
        for number in all.domain { virConnectDomainEventDeregisterAny(connection.pointer, number) }
        for number in all.monitor { virConnectDomainQemuMonitorEventDeregister(connection.pointer, number) }
    }

    private static func from(_ box: UnsafeMutableRawPointer?) -> EventCallbacks? {
        box.map { Unmanaged<EventCallbacks>.fromOpaque($0).takeUnretainedValue() }
    }

    private func lifecycle(_ domain: OpaquePointer?, event: Int32, detail: Int32) {
        guard let kind = Self.kind(event: event, detail: detail) else { return }
        emit(domain, kind)
    }

    func emit(_ domain: OpaquePointer?, _ kind: VirtualMachineEvent.Kind) {
        guard let domain else { return }
        let text = DomainIdentity.uuidText(domain)
        guard let uuid = UUID(uuidString: text) else { return }
        var kind = kind
        switch kind {
        case .panicked: if !panicked.withLock({ $0.insert(uuid).inserted }) { return }
        case .diskFailed(stops: false): if !diskFailed.withLock({ $0.insert(uuid).inserted }) { return }
        case .stopped:
            diskFailed.withLock { _ = $0.remove(uuid) }
            panicked.withLock { _ = $0.remove(uuid) }
            if ending.withLock({ $0.remove(text) }) != nil { kind = .stopped(.destroyed) }
        default: break
        }
        continuation.yield(VirtualMachineEvent(machine: DomainIdentity.name(domain), uuid: uuid, kind: kind))
    }

    /// What a lifecycle event says; nil for those that say nothing about a transient machine.
    static func kind(event: Int32, detail: Int32) -> VirtualMachineEvent.Kind? {
        func `is`(_ constant: some RawRepresentable<UInt32>, _ value: Int32) -> Bool { Int32(bitPattern: constant.rawValue) == value }
        if `is`(VIR_DOMAIN_EVENT_STARTED, event) { return .started }
        if `is`(VIR_DOMAIN_EVENT_CRASHED, event) { return .panicked }
        if `is`(VIR_DOMAIN_EVENT_RESUMED, event) { return .resumed }
        if `is`(VIR_DOMAIN_EVENT_SUSPENDED, event) {
            if `is`(VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, detail) { return .diskFailed(stops: true) }
            if `is`(VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG, detail) { return .paused(reason: "its watchdog") }
            return .paused(reason: "a request")
        }
        if `is`(VIR_DOMAIN_EVENT_STOPPED, event) {
            if `is`(VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, detail) { return .stopped(.shutdown) }
            if `is`(VIR_DOMAIN_EVENT_STOPPED_DESTROYED, detail) { return .stopped(.destroyed) }
            if `is`(VIR_DOMAIN_EVENT_STOPPED_CRASHED, detail) { return .stopped(.crashed) }
            if `is`(VIR_DOMAIN_EVENT_STOPPED_FAILED, detail) { return .stopped(.failed) }
            return .stopped(.other)
        }
        return nil
    }
}
