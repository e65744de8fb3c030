/// What the kernel command line says to the server stub.
///
///     drover.class=network         what the DD/OS is for: block (as without this word) or network
///     drover.device=0000:00:10.0   the PCI function whose disks or interface are offered
///     drover.channel=0000:00:13.0  the virtio-net function on which the host is (network only)
///     drover.port=4050             the vsock port of the client stub
///     drover.poll=50               cap of the adaptive poll, in microseconds; 0 turns it off
///     drover.wait=20               seconds to wait for disks, and for the client stub
public struct KernelCommandLine: Equatable, Sendable {
    /// A network card rather than disks.
    public var isNetwork = false
    /// Empty: any disk.
    public var device = ""
    public var channel = ""
    public var port: UInt32 = 4050
    public var pollMicroseconds: Int?
    public var waitSeconds = 30

    /// Reads the text of /proc/cmdline. Unknown words belong to the kernel; bad values leave the default.
    public init(_ text: String) {
        for word in text.pieces(between: 32, 9, 10) {
            guard word.begins(with: "drover."), let equals = word.utf8.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let key = String(decoding: Array(word.utf8[..<equals]), as: UTF8.self)
            let value = String(decoding: Array(word.utf8[equals...].dropFirst()), as: UTF8.self)
            if key.isSame(as: "drover.device") {
                device = value
            } else if key.isSame(as: "drover.class") {
                isNetwork = value.isSame(as: "network")
            } else if key.isSame(as: "drover.channel") {
                channel = value
            } else if key.isSame(as: "drover.port"), let number = value.number, number > 0, number <= UInt32.max {
                port = UInt32(number)
            } else if key.isSame(as: "drover.poll"), let number = value.number, number <= 1_000_000 {
                pollMicroseconds = number
            } else if key.isSame(as: "drover.wait"), let number = value.number, number > 0, number < 86_400 {
                waitSeconds = number
            }
        }
    }
}
