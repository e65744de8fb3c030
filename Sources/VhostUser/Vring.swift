internal import LinuxSystem
internal import Virtqueue

/// What the front end has said of one queue, and the queue itself while it runs.
///
///     stopped ──SET_VRING_KICK──▶ running ──GET_VRING_BASE──▶ stopped     enabled or not: SET_VRING_ENABLE, at any time
struct Vring: ~Copyable {
    /// 0 until SET_VRING_NUM.
    var size: UInt32 = 0
    var addresses: RingAddresses?
    var base: UInt16 = 0
    var isEnabled = false
    var kick: OwnedDescriptor?
    var call: OwnedDescriptor?
    var error: OwnedDescriptor?
    /// nil while stopped.
    var queue: DeviceVirtqueue?
    /// The driver wants a doorbell for what was published; rung at the end of the turn.
    var owesCall = false
    /// Descriptors given back and not shown to the driver yet, counted generously: see ``VringSet/giveBackLazily(queue:chain:)``.
    var unpublished = 0

    init() {}

    /// Builds the queue from the addresses and `base`, in `table`.
    mutating func start(_ number: Int, in table: MemoryTable, features: VirtqueueFeatures) throws(VhostUserError) {
        guard let addresses, let descriptors = table.guestAddress(user: addresses.descriptors),
            let available = table.guestAddress(user: addresses.available), let used = table.guestAddress(user: addresses.used)
        else { throw .ringOutsideMemory(queue: number) }
        do {
            let layout = try VirtqueueLayout(
                untrustedSize: size, descriptors: descriptors, driver: available, device: used, in: table.memory)
            // Every chain that was taken was also given back, so both indexes stand at the same place.
            queue = try DeviceVirtqueue(layout, in: table.memory, features: features, availIndex: base, usedIndex: base)
        } catch VirtqueueError.partOutsideMemory {
            throw .ringOutsideMemory(queue: number)
        } catch { throw .virtqueue(queue: number, error) }
        unpublished = 0
    }

    // Optional chaining would consume what it looks into; a switch borrows.
    var kickDescriptor: Int32? {
        switch kick {
        case .some(let kick): kick.rawValue
        case .none: nil
        }
    }

    var callDescriptor: Int32? {
        switch call {
        case .some(let call): call.rawValue
        case .none: nil
        }
    }

    var hasAvailable: Bool {
        switch queue {
        case .some(let queue): queue.hasAvailable
        case .none: false
        }
    }

    var isStarted: Bool {
        switch queue {
        case .some: true
        case .none: false
        }
    }

    var queueSize: Int {
        switch queue {
        case .some(let queue): Int(queue.size)
        case .none: 0
        }
    }

    /// Where the queue stands.
    var availIndex: UInt16 {
        switch queue {
        case .some(let queue): queue.availIndex
        case .none: base
        }
    }

    /// Shows the driver what was given back. Rings later.
    mutating func publish() {
        unpublished = 0
        if queue?.publishUsed() == true { owesCall = true }
    }

    /// Stops, with everything that was taken given back: where it stands, for GET_VRING_BASE.
    mutating func stop() -> UInt16 {
        if isStarted {
            publish()
            ring()
            base = availIndex
            queue = nil
        }
        kick = nil
        return base
    }

    /// Writes the call descriptor if the driver is owed a doorbell.
    mutating func ring() {
        guard owesCall else { return }
        owesCall = false
        if let descriptor = callDescriptor { EventCounter.signal(descriptor) }
    }
}
