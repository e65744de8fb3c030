/// Where the time of a DD/OS's start went. The steps follow each other without gaps; all are in seconds.
///
/// Those inside the guest are what the guest says of itself: for people, and for nothing that has to be right.
public struct StartTimeline: Codable, Sendable, Equatable {
    /// The life that it was the start of.
    public var generation: UInt64
    /// Finding or building the image, and preparing the device.
    public var image: Double
    /// The client stub: started, or found running, and ready for this life.
    public var stub: Double
    /// The VMM, and its firmware until the kernel begins.
    public var vmm: Double
    /// The kernel, until its first program begins; with built-in drivers their probing is in it.
    public var kernel: Double
    /// The server stub's own beginning: file systems, modules and their probing.
    public var initialization: Double
    /// Waiting for the device to appear, and opening it.
    public var probe: Double
    /// Pool and connection to the client stub.
    public var connection: Double
    /// The session's handshake until requests flow.
    public var session: Double

    public init(
        generation: UInt64, image: Double, stub: Double, vmm: Double, kernel: Double, initialization: Double, probe: Double,
        connection: Double, session: Double
    ) {
        self.generation = generation
        self.image = image
        self.stub = stub
        self.vmm = vmm
        self.kernel = kernel
        self.initialization = initialization
        self.probe = probe
        self.connection = connection
        self.session = session
    }

    /// Each step with what a person calls it, in their order.
    public var steps: [(name: String, seconds: Double)] {
        [
            ("image", image), ("client stub", stub), ("VMM, firmware", vmm), ("kernel", kernel), ("init, modules", initialization),
            ("device probe", probe), ("connection", connection), ("session", session),
        ]
    }

    public var total: Double { steps.reduce(0) { $0 + $1.seconds } }
}
