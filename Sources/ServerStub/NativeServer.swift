internal import CLinux
internal import LinuxSystem
internal import VirtioMessage

/// The server stub as an ordinary process.
public enum NativeServer {
    /// Runs with the arguments of this process (from /proc, which Embedded Swift can read too).
    /// - Returns: the exit status: 0 when the client closed the connection, 64 for a wrong command line, else 1.
    public static func run() -> Int32 {
        var log = StubLog(output: OwnedDescriptor(adopting: 2), sinceBoot: false)
        let options: NativeOptions
        do throws(NativeOptions.Problem) {
            options = try NativeOptions(arguments())
        } catch {
            say("drover-server-stub: " + error.text + "\n" + NativeOptions.usage)
            return 64
        }
        if !options.measuredInterface.isEmpty { return ControlCost.run(nic: options.measuredInterface, times: options.times) }
        ProcessControl.ignoreBrokenPipes()
        var what = options.socket
        do throws(SystemError) {
            let socket = try UnixSocket.connect(path: options.socket)
            what = "the pool"
            let pool = try ServerPool.native(byteCount: options.poolMegabytes << 20)
            var disks = DiskQueue()
            for path in options.files {
                what = path
                disks.append(
                    try ServedDisk(
                        path: path, name: path.lastComponent, serial: "",
                        options: .init(isReadOnly: options.isReadOnly, isBuffered: options.isBuffered)))
            }
            what = "serving"
            let settings = StubServer.Options(
                pollCap: UInt64(options.pollMicroseconds) * 1000, queueCount: options.queueCount)
            let count = disks.count
            log.line("serving " + decimal(count) + (count == 1 ? " disk" : " disks"))
            var server = try StubServer(
                socket: socket, pool: pool, diskCount: count, log: log, options: settings, disks: { _ in disks.removeFirst() })
            try server.announce()
            switch try server.serve() {
            case .closed: return 0
            case .failed(let code):
                say("drover-server-stub: connection: " + SystemError(code: code, call: "recv").description + "\n")
                return 1
            case .badStream:
                say("drover-server-stub: the client's messages make no sense\n")
                return 1
            case .injected(.panic): abort()
            case .injected(.hang):
                server.hang()
                return 1
            }
        } catch {
            say("drover-server-stub: " + what + ": " + error.description + "\n")
            return 1
        }
    }

    private static func arguments() -> [String] {
        var bytes: [UInt8] = []
        do throws(SystemError) { bytes = try SmallFile.read("/proc/self/cmdline") } catch {}
        if bytes.last == 0 { bytes.removeLast() }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropFirst().map { String(decoding: $0, as: UTF8.self) }
    }

    private static func say(_ text: String) {
        let output = OwnedDescriptor(adopting: 2)
        do throws(SystemError) { try output.writeAll(Array(text.utf8)) } catch {}
        _ = output.release()
    }
}

/// Disks on their way into a server, first in, first out.
struct DiskQueue: ~Copyable {
    private var first: Node?
    private(set) var count = 0

    /// A list, because an array holds no values that cannot be copied.
    private final class Node {
        var disk: ServedDisk?
        var next: Node?
        init(_ disk: consuming ServedDisk) { self.disk = .some(consume disk) }
    }

    mutating func append(_ disk: consuming ServedDisk) {
        let node = Node(disk)
        count += 1
        guard var last = first else {
            first = node
            return
        }
        while let next = last.next { last = next }
        last.next = node
    }

    /// The oldest one. Traps when there is none: the caller has counted.
    mutating func removeFirst() -> ServedDisk {
        guard let node = first, let disk = node.disk.take() else { preconditionFailure("no disk is left") }
        first = node.next
        count -= 1
        return disk
    }
}
