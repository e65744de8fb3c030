public import LinuxSystem

/// The vsock device of one VM, as a vhost-user back end: what the client stub holds for each life of its DD/OS.
///
/// A value of this type is one accepted vhost-user connection. It never blocks and starts no thread: an event loop outside
/// polls ``socketDescriptor`` and each ``kickDescriptor(queue:)`` for readability and calls in here; then takes every event
/// with ``nextEvent()``, reads bytes with ``receive(_:)``, writes bytes with ``send(_:)``, and calls ``flush()`` once
/// at the end of its turn, which interrupts the guest if (and only if) it asked for that.
///
/// Every error thrown is final: the guest or the VMM broke the protocol, or went away. The owner drops the value, which closes
/// every descriptor that came with the connection and unmaps guest memory. Mappings made by ``mapContiguous(_:)`` live on.
///
/// Implements virtio 1.2 section 5.10 (socket device; stream sockets only) on QEMU's docs/interop/vhost-user.rst.
public struct VsockBackend: ~Copyable {
    private var connection: BackendConnection<VsockDevice>

    /// Takes over `socket`, a connected Unix stream socket on which QEMU's `vhost-user-vsock-pci` speaks. Makes it non-blocking.
    public init(socket: consuming OwnedDescriptor, configuration: VsockConfiguration) throws(VhostUserError) {
        connection = try BackendConnection(socket: socket, device: VsockDevice(configuration))
    }

    /// Poll this for readability (and hang-up), then call ``handleSocketReadable()``.
    public var socketDescriptor: Int32 { connection.socketDescriptor }

    /// Number of virtqueues that can have a kick descriptor: 0 is rx (host to guest), 1 is tx (guest to host).
    public static var queueCount: Int { VsockDevice.queueCount }

    /// Poll this for readability, then call ``handleKick(queue:)``. nil while the ring has none. It changes only together
    /// with an event ``VsockEvent/kickChanged(queue:)``: a poll on the old descriptor is then to be cancelled.
    public func kickDescriptor(queue: Int) -> Int32? { connection.kickDescriptor(queue) }

    /// Reads and answers every vhost-user message that is there. ``VhostUserError/disconnected`` when the VMM is gone.
    public mutating func handleSocketReadable() throws(VhostUserError) {
        try connection.handleSocketReadable()
    }

    /// Clears the kick descriptor of `queue`, serves both queues, and asks for the next kick.
    public mutating func handleKick(queue: Int) throws(VhostUserError) {
        connection.clearKick(queue)
        _ = try rearm()
    }

    /// Serves both queues without any system call and without asking for kicks: for adaptive polling. True if the guest had put
    /// something there. Call ``rearm()`` before going to sleep.
    public mutating func poll() throws(VhostUserError) -> Bool {
        guard connection.rings.hasAvailable(VsockDevice.transmitQueue) else { return false }
        return try connection.device.serve(&connection.rings, rearm: false)
    }

    /// Serves what came, and asks for the next kick. True if there was anything.
    public mutating func rearm() throws(VhostUserError) -> Bool {
        try connection.device.serve(&connection.rings, rearm: true)
    }

    /// The next thing that happened, or nil. Take all of them after each call into this value.
    public mutating func nextEvent() -> VsockEvent? { connection.device.events.next() }

    /// Shows the bytes received and not yet consumed, contiguous; `body` returns how many of them it consumes (more than there
    /// are counts as all). Consuming gives the guest credit to send more, so a message larger than `receiveCapacity` never
    /// arrives whole. After ``VsockEvent/closed(_:)``, what is left can still be read until the next connection comes.
    public mutating func receive(_ body: (UnsafeRawBufferPointer) -> Int) {
        // SAFETY: private memory that does not change during the call.
        let wanted = unsafe body(connection.device.input.bytes)
        connection.device.consume(max(0, wanted))
    }

    /// Sends `bytes`, at most `backlogCapacity`, to the guest: straight into guest buffers when there is credit and there are
    /// buffers, else by way of a backlog. The guest notices at the next ``flush()``.
    ///
    /// All or nothing: false (nothing taken) when the backlog has no room or no stream is open; in the first case
    /// ``VsockEvent/writable`` follows when there is room again.
    public mutating func send(_ bytes: UnsafeRawBufferPointer) throws(VhostUserError) -> Bool {
        // SAFETY: read during the call only.
        try unsafe connection.device.send(bytes, &connection.rings)
    }

    /// Sends what is owed (credit), shows the guest what was put on the rings since the last flush, and calls it unless it
    /// suppressed that (EVENT_IDX). At most one write(2) per queue.
    public mutating func flush() throws(VhostUserError) {
        try connection.device.pump(&connection.rings)
        connection.rings.publish()
    }

    /// Resets the stream (RST to the guest at the next flush), if one is open, and forgets what was not consumed. No event follows.
    public mutating func reset() {
        connection.device.resetStream()
    }

    /// True while a guest program is connected.
    public var isConnected: Bool { connection.device.stream != nil }

    /// The file and the offset in it behind the guest-physical range, if one memory region holds all of it. The descriptor stays the backend's.
    public func resolve(_ extent: GuestExtent) -> (descriptor: Int32, offset: UInt64)? {
        connection.memoryTable?.resolve(extent)
    }

    /// Maps `extents` of guest memory side by side, in that order, into one contiguous range: the pool as both sides see it.
    /// The mapping owns itself: it outlives this value (and the VMM), and is unmapped when it is dropped.
    /// - Throws: ``VhostUserError/extentInvalid(_:)`` if an extent is empty, not page aligned, overlaps another or lies
    ///   outside guest memory; nothing stays mapped then.
    public func mapContiguous(_ extents: [GuestExtent]) throws(VhostUserError) -> PoolMapping {
        guard let table = connection.memoryTable else {
            throw .extentInvalid(extents.first ?? GuestExtent(address: 0, length: 0))
        }
        return try table.mapContiguous(extents)
    }
}

/// How a ``VsockBackend`` presents itself.
public struct VsockConfiguration: Sendable {
    /// The guest's context id, 3 or more.
    public var guestCID: UInt64
    /// The one port of CID 2 (the host) that accepts a connection; any other gets RST.
    public var port: UInt32
    /// Bytes that can wait to be consumed: what the guest is told as `buf_alloc`.
    public var receiveCapacity: Int
    /// Bytes that can wait for credit or for guest buffers.
    public var backlogCapacity: Int

    public init(guestCID: UInt64, port: UInt32 = 4050, receiveCapacity: Int = 64 << 10, backlogCapacity: Int = 64 << 10) {
        self.guestCID = guestCID
        self.port = port
        self.receiveCapacity = receiveCapacity
        self.backlogCapacity = backlogCapacity
    }
}

/// What happened in a ``VsockBackend``. Kinds are coalesced; when several are pending they come in the order of declaration.
public enum VsockEvent: Equatable, Sendable {
    /// Guest memory is mapped (anew): ``VsockBackend/resolve(_:)`` works.
    case memoryMapped
    /// ``VsockBackend/kickDescriptor(queue:)`` has another value, or none.
    case kickChanged(queue: Int)
    /// A guest program connected, from this port of its own. One stream at a time.
    case connected(port: UInt32)
    /// There are new bytes for ``VsockBackend/receive(_:)``.
    case received
    /// A ``VsockBackend/send(_:)`` that was refused can be tried again.
    case writable
    /// The stream is over. A new one is accepted once this event was taken.
    case closed(VsockClosure)
}

/// Why a stream ended.
public enum VsockClosure: Equatable, Sendable {
    /// The guest program closed or half-closed it.
    case shutDown
    /// The guest reset it.
    case reset
    /// The guest's driver stopped the device (reboot, unload, or the VMM stops).
    case deviceStopped
}
