import Foundation
import Glibc

/// Where a supervisor keeps what belongs to running DD/OSs. All of it is of use only until the machine reboots.
///
/// ```
///  drover.sock          the API                 nbd/NAME.sock     front ends
///  droverd.lock         flock: one supervisor   libvirt/          libvirt's own
///  events.jsonl         the event log           devices/          PCI devices taken from the host
///                                               ddos/NAME/        vsock.sock control.sock console.log stub.log state.json
/// ```
public struct RunDirectory: Sendable, Equatable {
    public let path: String

    public init(path: String) {
        self.path = path
    }

    public var apiSocket: String { path + "/drover.sock" }
    public var lock: String { path + "/droverd.lock" }
    public var events: String { path + "/events.jsonl" }
    /// What was taken from the host, and from whom.
    public var devices: String { path + "/devices" }
    public var libvirtRoot: String { path + "/libvirt" }

    public func ddos(_ name: String) -> String { "\(path)/ddos/\(name)" }
    public func vsockSocket(_ name: String) -> String { ddos(name) + "/vsock.sock" }
    public func controlSocket(_ name: String) -> String { ddos(name) + "/control.sock" }
    public func consoleLog(_ name: String) -> String { ddos(name) + "/console.log" }
    public func stubLog(_ name: String) -> String { ddos(name) + "/stub.log" }
    public func state(_ name: String) -> String { ddos(name) + "/state.json" }
    public func nbdSocket(_ name: String) -> String { "\(path)/nbd/\(name).sock" }

    /// `sockaddr_un` holds 108 bytes with the final zero.
    static let longestSocketPath = 107

    /// Makes the directories, and checks that every socket's path fits.
    func create(for names: [String]) throws(SupervisionError) {
        for socket in [apiSocket] + names.flatMap({ [vsockSocket($0), controlSocket($0), nbdSocket($0)] })
        where socket.utf8.count > Self.longestSocketPath {
            throw .socketPathTooLong(path: socket, limit: Self.longestSocketPath)
        }
        for directory in [path, path + "/nbd", path + "/ddos", libvirtRoot] + names.map(ddos) { try Self.make(directory) }
    }

    static func make(_ directory: String) throws(SupervisionError) {
        var partial = ""
        for component in directory.split(separator: "/") {
            partial += "/" + component
            if mkdir(partial, 0o755) != 0, errno != EEXIST {
                let code = errno
                var found = stat()
                // A read-only parent says EROFS or EACCES even where the directory exists.
                if stat(partial, &found) == 0, found.st_mode & S_IFMT == S_IFDIR { continue }
                throw .fileSystem(operation: "create the directory", path: partial, errno: code)
            }
        }
    }

    /// Names that have a directory here, configured or not.
    func namesOnDisk() -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path + "/ddos")) ?? []).sorted()
    }
}

/// Held as long as the value lives; the kernel lets go when the process dies, however it dies.
final class SupervisorLock: Sendable {
    private let descriptor: Int32

    init(_ directory: RunDirectory) throws(SupervisionError) {
        let path = directory.lock
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw .fileSystem(operation: "open the lock file", path: path, errno: errno) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            var bytes = [UInt8](repeating: 0, count: 32)
            let count = max(0, read(file, &bytes, bytes.count))
            close(file)
            guard code == EWOULDBLOCK else { throw .fileSystem(operation: "lock", path: path, errno: code) }
            let text = String(decoding: bytes[..<count], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            throw .secondSupervisor(pid: Int32(text), runDirectory: directory.path)
        }
        let text = "\(getpid())\n"
        ftruncate(file, 0)
        _ = text.withCString { pwrite(file, $0, strlen($0), 0) }
        descriptor = file
    }

    deinit {
        // A child that is being started has the descriptor too, until it runs its own program.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
