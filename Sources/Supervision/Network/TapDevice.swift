import CLinux
import Glibc
import LinuxSystem
import Netlink

/// A TAP device in the making: it is gone with this value, whatever ends the process, until ``persist()``.
struct TapDevice: ~Copyable {
    let file: OwnedDescriptor
    /// Of the namespace that the device is in.
    private var links: LinkSocket
    private var isPersistent = false
    let name: String
    /// The kernel's number of it.
    let index: Int32

    /// Makes it in the namespace of the calling thread, down, with vnet headers. Only root may attach to it.
    init(name: String) throws(InterfaceError) {
        var links: LinkSocket
        do throws(NetlinkError) { links = try LinkSocket() } catch { throw InterfaceError(error, "make", name) }
        let file: OwnedDescriptor
        do throws(SystemError) {
            file = try OwnedDescriptor(path: "/dev/net/tun", .readWrite)
        } catch {
            throw .noTapDevices(errno: error.code)
        }
        if clinux_tap_create(file.rawValue, name, 0) != 0 {
            switch clinux_errno() {
            case EBUSY, EEXIST, EINVAL:
                var kind = ""
                if let link = try? links.link(named: name) { kind = link.kind }
                throw .nameTaken(name: name, kind: kind, namespace: nil)
            case EPERM, EACCES: throw .notPermitted(operation: "make the TAP device", name: name)
            case let code: throw .refused(operation: "make the TAP device", name: name, reason: errorText(code))
            }
        }
        let index: Int32
        do throws(NetlinkError) {
            index = try links.link(named: name).index
        } catch {
            throw InterfaceError(error, "look at", name)
        }
        self.file = file
        self.name = name
        self.index = index
        self.links = links
    }

    /// Not left to the descriptor's end: a child process that was forked meanwhile has it too, until it runs its own program.
    deinit {
        guard !isPersistent else { return }
        var links = links
        try? links.delete(index)
    }

    /// From now on it stays until it is removed.
    mutating func persist() throws(InterfaceError) {
        guard clinux_tap_set_persistent(file.rawValue, 1) == 0 else {
            throw .refused(operation: "keep the TAP device", name: name, reason: errorText(clinux_errno()))
        }
        isPersistent = true
    }
}

extension InterfaceError {
    init(_ error: NetlinkError, _ operation: String, _ name: String) {
        self =
            error.code == EPERM || error.code == EACCES
            ? .notPermitted(operation: operation, name: name) : .refused(operation: operation, name: name, reason: error.reason)
    }
}
