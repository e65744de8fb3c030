import CLinux
import Foundation
import Netlink

/// A network namespace of a test's own, with nothing in it but a loopback. It goes, with all that is in it, when the value ends.
struct PrivateNamespace: ~Copyable {
    let namespace: NetworkNamespace

    init() throws {
        let box = Box()
        let done = DispatchSemaphore(value: 0)
        // A thread that leaves its namespace cannot be one of Swift's own.
        let thread = Thread {
            do throws(NetlinkError) {
                try NetworkNamespace.isolateThread()
                box.namespace = try NetworkNamespace.current()
            } catch {
                box.error = error
            }
            done.signal()
        }
        thread.start()
        done.wait()
        if let error = box.error { throw error }
        namespace = box.namespace.take()!
    }

    /// Runs with the calling thread in the namespace.
    func inside<Result: ~Copyable>(_ body: () throws(NetlinkError) -> Result) throws(NetlinkError) -> Result {
        try namespace.perform(body)
    }

    private final class Box: @unchecked Sendable {
        var namespace: NetworkNamespace?
        var error: NetlinkError?
    }
}

/// Polls a descriptor for input.
func isReadable(_ descriptor: Int32, milliseconds: Int32 = 5000) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, milliseconds) == 1
}
