internal import CLinux
internal import LinuxSystem

/// A network namespace, held open: it exists as long as this value does, whoever else leaves it.
public struct NetworkNamespace: ~Copyable {
    private let descriptor: OwnedDescriptor

    /// The namespace that a file names, such as "/run/netns/lab" or "/proc/17/ns/net". `EINVAL`, from `perform`: the file names none.
    public init(path: String) throws(NetlinkError) {
        do throws(SystemError) {
            descriptor = try OwnedDescriptor(path: path, .readOnly)
        } catch {
            throw NetlinkError(error, "network namespace")
        }
    }

    /// The namespace of the calling thread.
    public static func current() throws(NetlinkError) -> NetworkNamespace {
        try NetworkNamespace(path: "/proc/thread-self/ns/net")
    }

    /// Puts the calling thread into a new namespace of its own (unshare(2)): for threads that are made for it, and end in it.
    public static func isolateThread() throws(NetlinkError) {
        guard clinux_unshare_network() == 0 else { throw NetlinkError(code: clinux_errno(), request: "network namespace") }
    }

    /// The number, for calls that only borrow it.
    public var rawDescriptor: Int32 { descriptor.rawValue }

    /// Runs `body` with the calling thread in this namespace. Sockets and TAP devices that it opens belong to the namespace for good.
    /// `body` does not wait for anything: the thread is not its own meanwhile.
    public func perform<Result: ~Copyable>(_ body: () throws(NetlinkError) -> Result) throws(NetlinkError) -> Result {
        let home = try Self.current()
        guard clinux_enter_network_namespace(descriptor.rawValue) == 0 else {
            throw NetlinkError(code: clinux_errno(), request: "network namespace")
        }
        defer {
            // Going on in the wrong namespace would change the wrong machine's interfaces.
            precondition(clinux_enter_network_namespace(home.descriptor.rawValue) == 0, "no way back to the thread's namespace")
        }
        return try body()
    }
}
