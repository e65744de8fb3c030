import Glibc

/// Why the host's side of a network DD/OS cannot be made. The description is one sentence for people: what happened, to what, what to do.
enum InterfaceError: Error, Equatable {
    /// `kind`: of the interface that has the name, as `ip -d link` calls it; empty for a device.
    case nameTaken(name: String, kind: String, namespace: String?)
    case notPermitted(operation: String, name: String)
    /// No /dev/net/tun.
    case noTapDevices(errno: Int32)
    case namespaceMissing(namespace: String)
    case bridgeMissing(bridge: String, namespace: String?)
    case notABridge(name: String, kind: String)
    /// The wire's end exists, and is something else than a TAP device.
    case notATap(name: String, kind: String)
    /// Anything else that the kernel refuses. `operation`: "set the MTU of".
    case refused(operation: String, name: String, reason: String)
}

extension InterfaceError: CustomStringConvertible {
    var description: String {
        switch self {
        case .nameTaken(let name, let kind, let namespace):
            "there is an interface '\(name)' already\(Self.place(namespace))\(kind.isEmpty ? "" : " (a \(Self.word(kind)))"); choose another "
                + "'interface: { name: … }', or remove that one"
        case .notPermitted(let operation, let name):
            "no permission to \(operation) '\(name)'; droverd needs CAP_NET_ADMIN: run it as root"
        case .noTapDevices(let code):
            "/dev/net/tun cannot be opened: \(errorText(code)); load the kernel's module 'tun' (modprobe tun), and run droverd as root"
        case .namespaceMissing(let namespace):
            "there is no network namespace '\(namespace)'; make it with 'ip netns add \(namespace)'"
        case .bridgeMissing(let bridge, let namespace):
            "there is no bridge '\(bridge)'\(Self.place(namespace)); make it with 'ip \(Self.option(namespace))link add \(bridge) type bridge'"
        case .notABridge(let name, let kind):
            "'\(name)' is \(kind.isEmpty ? "a device" : "a \(Self.word(kind))"), not a bridge; name one as 'interface: { bridge: … }'"
        case .notATap(let name, let kind):
            "'\(name)' is \(kind.isEmpty ? "a device" : "a \(Self.word(kind))"), not a TAP device; 'wire: { tap: … }' names one, or a new name"
        case .refused(let operation, let name, let reason):
            "cannot \(operation) '\(name)': \(reason)"
        }
    }

    private static func place(_ namespace: String?) -> String { namespace.map { " in the namespace '\($0)'" } ?? "" }
    private static func option(_ namespace: String?) -> String { namespace.map { "-n \($0) " } ?? "" }
    private static func word(_ kind: String) -> String { kind == "tun" ? "TAP device" : kind }
}
