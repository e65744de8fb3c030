import CLinux
public import LinuxSystem
import Netlink

/// The host's end of a DD/OS's network interface: a TAP that somebody else made, attached with one descriptor for each queue pair.
///
/// Packets come and go with a vnet header of 12 bytes. The interface outlives this value; its carrier is on only while somebody has it attached.
public struct Tap: ~Copyable {
    /// The interface's name.
    public let name: String
    /// One for each queue pair, non-blocking. Closed with this value.
    private let descriptors: [Int32]
    private var attached: [Bool]
    /// Whether the kernel takes UDP datagrams to be cut (`TUN_F_USO4` and 6, Linux 6.2).
    public let cutsDatagrams: Bool

    /// Attaches `queues` descriptors to the TAP `name`; with `namespace` (the path of a network namespace) to the one of that name in there.
    ///
    /// The flags have to be those that it was made with: multi-queue if there is more than one.
    public init(name: String, namespace: String? = nil, queues: Int = 1) throws(TapError) {
        precondition(queues >= 1)
        let files =
            if let namespace {
                try Self.attach(name, queues, in: namespace)
            } else {
                try Self.attach(name, queues)
            }
        self.name = name
        descriptors = files
        attached = [Bool](repeating: true, count: queues)
        cutsDatagrams = clinux_tap_set_offload(files[0], TapOffloads.datagrams.rawValue | TapOffloads.checksum.rawValue) == 0
        _ = clinux_tap_set_offload(files[0], 0)
    }

    deinit { for descriptor in descriptors { _ = close(descriptor) } }

    /// How many queue pairs it has.
    public var queueCount: Int { descriptors.count }

    /// The descriptor of a queue pair, which stays this value's.
    public func descriptor(_ pair: Int) -> Int32 { descriptors[pair] }

    /// Says which packets the kernel may hand over uncut and without checksum. For all queues.
    public func setOffloads(_ offloads: TapOffloads) throws(SystemError) {
        let descriptor = descriptors[0]
        try Self.check("TUNSETOFFLOAD", clinux_tap_set_offload(descriptor, offloads.rawValue))
    }

    /// Whether the wire is connected, as the host's programs see it.
    public func setCarrier(_ on: Bool) throws(SystemError) {
        let descriptor = descriptors[0]
        try Self.check("TUNSETCARRIER", clinux_tap_set_carrier(descriptor, on ? 1 : 0))
    }

    /// Whether a queue pair gets its share of the host's packets. The first always does: so packets wait somewhere while the DD/OS is down.
    public mutating func setAttached(_ pair: Int, _ on: Bool) throws(SystemError) {
        guard pair > 0, attached[pair] != on else { return }
        let descriptor = descriptors[pair]
        try Self.check("TUNSETQUEUE", clinux_tap_set_queue(descriptor, on ? 1 : 0))
        attached[pair] = on
    }

    /// Throws away what waits to be read: how many packets. A bounded number, however fast more come.
    func discardWaiting() -> UInt64 {
        var count: UInt64 = 0
        var start = [UInt8](repeating: 0, count: 64)
        for descriptor in descriptors {
            for _ in 0..<Self.longestQueue {
                // SAFETY: the array outlives the call, its count goes along. The kernel drops what does not fit.
                let came = unsafe start.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
                guard came > 0 else { break }
                count += 1
            }
        }
        return count
    }

    /// More packets than an interface's `txqueuelen` usually lets wait.
    private static let longestQueue = 4096

    private static func check(_ call: StaticString, _ result: Int32) throws(SystemError) {
        if result < 0 { throw SystemError(code: clinux_errno(), call: call) }
    }

    // MARK: opening

    private static func attach(_ name: String, _ queues: Int) throws(TapError) -> [Int32] {
        var files: [Int32] = []
        do {
            for _ in 0..<queues {
                let file = try OwnedDescriptor(path: "/dev/net/tun", [.readWrite, .nonBlocking])
                let descriptor = file.rawValue
                // SAFETY: the C string lives as long as the call.
                try Self.check("TUNSETIFF", unsafe name.withCString { unsafe clinux_tap_attach(descriptor, $0, queues > 1 ? 1 : 0) })
                files.append(file.release())
                try Self.check("TUNSETVNETHDRSZ", clinux_tap_set_header_size(descriptor, 12))
            }
            return files
        } catch {
            for descriptor in files { _ = close(descriptor) }
            throw TapError(error, name: name, queues: queues)
        }
    }

    /// In another network namespace: a TAP is found in the namespace of whoever opens it.
    private static func attach(_ name: String, _ queues: Int, in namespace: String) throws(TapError) -> [Int32] {
        let outcome: Result<[Int32], TapError>
        do throws(NetlinkError) {
            outcome = try NetworkNamespace(path: namespace).perform {
                Result { () throws(TapError) in try attach(name, queues) }
            }
        } catch {
            throw .namespace(path: namespace, SystemError(code: error.code, call: "setns"))
        }
        return try outcome.get()
    }
}

/// What the kernel may leave to whoever reads a TAP (`TUN_F_…`).
public struct TapOffloads: OptionSet, Equatable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let checksum = TapOffloads(rawValue: CLINUX_TUN_F_CSUM)
    public static let tcp4 = TapOffloads(rawValue: CLINUX_TUN_F_TSO4)
    public static let tcp6 = TapOffloads(rawValue: CLINUX_TUN_F_TSO6)
    public static let ecn = TapOffloads(rawValue: CLINUX_TUN_F_TSO_ECN)
    public static let udp = TapOffloads(rawValue: CLINUX_TUN_F_UFO)
    /// Both kinds: the kernel takes them together only.
    public static let datagrams = TapOffloads(rawValue: CLINUX_TUN_F_USO4 | CLINUX_TUN_F_USO6)
}

/// Why a TAP cannot be used, and what to do about it.
public enum TapError: Error, Equatable, Sendable {
    case namespace(path: String, SystemError)
    case notPermitted(name: String)
    case busy(name: String)
    /// None of that name, or one that ends with whoever made it.
    case missing(name: String)
    /// Its flags are others: queue pairs, or no TAP at all.
    case otherKind(name: String, queues: Int)
    case noDriver
    case system(name: String, SystemError)

    init(_ error: SystemError, name: String, queues: Int) {
        self =
            switch (error.call.description, error.code) {
            case ("open", ENOENT), ("open", ENODEV): .noDriver
            case (_, EPERM), (_, EACCES): .notPermitted(name: name)
            case ("TUNSETIFF", EBUSY): .busy(name: name)
            case ("TUNSETIFF", ENODEV): .missing(name: name)
            case ("TUNSETIFF", EINVAL), ("TUNSETIFF", E2BIG): .otherKind(name: name, queues: queues)
            default: .system(name: name, error)
            }
    }
}

extension TapError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .namespace(let path, let error): "the network namespace \(path) cannot be entered: \(error.reason)"
        case .notPermitted(let name):
            "no permission for the TAP \(name): run as root, or give this user the interface (ip tuntap add … user)"
        case .missing(let name):
            "there is no TAP \(name) that stays by itself: make it (ip tuntap add \(name) mode tap vnet_hdr), or let droverd do it"
        case .busy(let name): "the TAP \(name) is in use by another program: stop that, or choose another name"
        case .otherKind(let name, let queues):
            "the interface \(name) is no TAP with vnet headers and \(queues == 1 ? "one queue" : "\(queues) queues"): choose another name"
        case .noDriver: "there is no /dev/net/tun: load the kernel's module tun"
        case .system(let name, let error): "the TAP \(name): \(error.description)"
        }
    }
}
