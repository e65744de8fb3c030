/// What a configuration file says, validated: a value of this type holds nothing that could not be run.
public struct Configuration: Sendable, Equatable {
    /// In the file's order; names are unique, and no two share a device or a backing file.
    public var ddos: [DDOSConfiguration]

    public init(ddos: [DDOSConfiguration]) {
        self.ddos = ddos
    }
}

/// One DD/OS: a device, the VM that drives it, and what happens when that VM fails.
public struct DDOSConfiguration: Sendable, Equatable {
    /// `[a-z0-9][a-z0-9_.-]*`, at most 32 characters: it names files, sockets and the VM.
    public var name: String
    public var deviceClass: DeviceClass
    public var device: DeviceBinding
    /// An image recipe's name. Default: ``leanImage``, and ``stockImage`` where that cannot be built.
    public var image: String { didSet { imageIsGiven = true } }
    /// Whether ``image`` was set: else another may take its place.
    public private(set) var imageIsGiven = false
    /// The guest's RAM. Default: what the image takes, 128 MiB where it says nothing.
    public var memory: ByteSize { didSet { memoryIsGiven = true } }
    /// Whether ``memory`` was set: else the image may take another size.
    public private(set) var memoryIsGiven = false
    /// Default: 1.
    public var vcpus: Int
    /// Default: none.
    public var limits = ResourceLimits()
    /// Of `memory`, in huge pages: queues and data buffers. A multiple of 2 MiB. Default: what the image takes, at most 16 MiB. Always 0 with ``DeviceClass/network``, whose
    /// packets are not in a pool.
    public var pool: ByteSize { didSet { poolIsGiven = true } }
    /// Whether ``pool`` was set: else the image may take another size.
    public private(set) var poolIsGiven = false
    /// Requests in flight at most; a power of two from 4 to 1024. Default: 128.
    public var queueSize: Int
    /// Default: one NBD socket in the run directory. Always empty with ``DeviceClass/network``.
    public var frontEnds: [FrontEnd]
    /// From the VM's start to a session. Default: 2 min.
    public var bootDeadline: Duration
    /// Started together with the supervisor. Default: true.
    public var autostart: Bool
    public var restart: RestartPolicy
    public var requests: RequestPolicy
    /// With ``DeviceClass/network``, and only then.
    public var network: NetworkConfiguration?

    /// The recipe that is used where none is named: small, and quick to start.
    public static let leanImage = "lean-6.1"
    /// The recipe of Debian's own kernel, which has a driver for nearly every device.
    public static let stockImage = "debian-6.1"

    public init(name: String, deviceClass: DeviceClass = .block, device: DeviceBinding) {
        self.name = name
        self.deviceClass = deviceClass
        self.device = device
        image = Self.leanImage
        memory = .mebibytes(128)
        vcpus = 1
        pool = .mebibytes(16)
        queueSize = 128
        frontEnds = [.nbd(socket: nil)]
        bootDeadline = .seconds(120)
        autostart = true
        restart = RestartPolicy()
        requests = RequestPolicy()
    }
}

/// What kind of device a DD/OS offers to the host.
public enum DeviceClass: String, Sendable, Equatable, CaseIterable {
    /// Disks, behind an NBD socket.
    case block
    /// A NIC, as an interface of the host.
    case network
}

/// How a DD/OS gets its device.
public enum DeviceBinding: Sendable, Equatable {
    /// QEMU's model of a real controller, with a file as its disk.
    case emulated(model: String, backing: Backing)
    /// QEMU's model of a real NIC. `mac`: its own address, in lower case, the same in every life.
    case emulatedNIC(model: String, wire: Wire, mac: String)
    /// Passthrough of this PCI function, `0000:01:00.0`.
    case pci(address: String)
}

/// The file behind an emulated disk.
public struct Backing: Sendable, Equatable {
    /// Absolute, or below `$RUN_DIR` or `$CACHE_DIR`.
    public var file: String
    /// Created with this size if the file does not exist; nil: it has to exist.
    public var size: ByteSize?

    public init(file: String, size: ByteSize? = nil) {
        self.file = file
        self.size = size
    }

    /// ``file`` with the directories put in.
    public func path(runDirectory: String, cacheDirectory: String) -> String {
        for (variable, directory) in [("$RUN_DIR", runDirectory), ("$CACHE_DIR", cacheDirectory)] where file.hasPrefix(variable + "/") {
            return directory + file.dropFirst(variable.count)
        }
        return file
    }
}

/// How the host's programs reach the device.
public enum FrontEnd: Sendable, Equatable {
    /// An NBD server on a Unix socket; nil: `nbd/NAME.sock` in the run directory.
    case nbd(socket: String?)

    /// As written in the configuration.
    public static let kinds = ["nbd"]
}

/// What happens after a failure. The first restart after a stable time is immediate.
public struct RestartPolicy: Sendable, Equatable {
    public enum OnQuarantine: String, Sendable, Equatable, CaseIterable {
        /// Held and new requests get an I/O error.
        case fail
        /// Requests go on waiting until someone starts the DD/OS again.
        case hold
    }

    public struct Quarantine: Sendable, Equatable {
        /// This many failures…
        public var failures: Int
        /// …within this time.
        public var within: Duration

        public init(failures: Int, within: Duration) {
            self.failures = failures
            self.within = within
        }
    }

    /// Wait before the second restart in a row; doubles with each further one. Default: 0.2 s.
    public var backoffMinimum: Duration = .milliseconds(200)
    /// Default: 30 s.
    public var backoffMaximum: Duration = .seconds(30)
    /// Ready for this long: the backoff starts anew. Default: 1 min.
    public var stableAfter: Duration = .seconds(60)
    /// Nil: never. Default: 5 failures within 2 min.
    public var quarantine: Quarantine? = Quarantine(failures: 5, within: .seconds(120))
    /// Default: `fail`.
    public var onQuarantine: OnQuarantine = .fail

    public init() {}
}

/// What clients' requests meet.
public struct RequestPolicy: Sendable, Equatable {
    public enum WhileDown: String, Sendable, Equatable, CaseIterable {
        /// Requests wait for the next life, for at most ``RequestPolicy/holdLimit``.
        case hold
        /// Requests get an I/O error while there is no session.
        case fail
    }

    /// A request the device has not answered by then counts as a failure of the DD/OS. Default: 10 s.
    public var deadline: Duration = .seconds(10)
    /// Default: `hold`.
    public var whileDown: WhileDown = .hold
    /// Nil: no limit. Default: none.
    public var holdLimit: Duration?
    /// Server stub silent for this long: a hang. Default: 3 s.
    public var pingTimeout: Duration = .seconds(3)

    public init() {}
}
