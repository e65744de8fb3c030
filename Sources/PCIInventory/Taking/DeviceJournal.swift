internal import Foundation

/// Which devices were taken from whom: a file for each, written and synced before the device is touched, so that whoever comes after a
/// SIGKILL knows what to finish or undo. Bindings don't outlive a reboot, so the journal belongs on a file system that doesn't either.
public struct DeviceJournal: Sendable, Equatable {
    public let directory: String

    /// - Parameter directory: Made when the first device is taken.
    public init(directory: String) {
        self.directory = directory
    }

    /// What is taken, by address. A file that can't be read is none of ours, or from a broken disk: nothing can be learnt from it.
    public var entries: [TakenDevice] {
        directoryNames(directory).filter { $0.hasSuffix(".json") }.compactMap { name in
            guard let data = FileManager.default.contents(atPath: "\(directory)/\(name)") else { return nil }
            return try? JSONDecoder().decode(TakenDevice.self, from: data)
        }.sorted { $0.address < $1.address }
    }

    public func entry(_ address: PCIAddress) -> TakenDevice? { entries.first { $0.address == address } }

    /// On return it is on the disk.
    func record(_ device: TakenDevice) throws(TakingError) {
        try makeDirectory()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        guard let data = try? encoder.encode(device) else { throw .journal(operation: "write", path: directory, errno: EINVAL) }
        let path = file(device.address)
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .journal(operation: "write", path: temporary, errno: errno) }
        let written = data.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        let code = written == data.count ? (fsync(descriptor) == 0 ? 0 : errno) : (written < 0 ? errno : ENOSPC)
        close(descriptor)
        guard code == 0 else { throw .journal(operation: "write", path: temporary, errno: code) }
        guard rename(temporary, path) == 0 else { throw .journal(operation: "replace", path: path, errno: errno) }
        try syncDirectory()
    }

    func forget(_ address: PCIAddress) throws(TakingError) {
        let path = file(address)
        guard unlink(path) == 0 || errno == ENOENT else { throw .journal(operation: "remove", path: path, errno: errno) }
        try syncDirectory()
    }

    /// Runs `body` while nobody else takes or gives back with this journal: a supervisor, or `drover release`.
    func locked<Value>(_ body: () throws(TakingError) -> Value) throws(TakingError) -> Value {
        try makeDirectory()
        let path = directory + "/lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .journal(operation: "open", path: path, errno: errno) }
        defer { close(descriptor) }
        // Held for as long as sysfs takes; each of its waits has an end.
        for _ in 0..<1200 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return try body() }
            guard errno == EWOULDBLOCK || errno == EINTR else { break }
            usleep(50_000)
        }
        throw .journal(operation: "lock", path: path, errno: errno)
    }

    private func file(_ address: PCIAddress) -> String { "\(directory)/\(address).json" }

    private func makeDirectory() throws(TakingError) {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            let code = ((error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError).map { Int32(truncatingIfNeeded: $0.code) }
            throw .journal(operation: "make the directory", path: directory, errno: code ?? EIO)
        }
    }

    private func syncDirectory() throws(TakingError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .journal(operation: "open", path: directory, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .journal(operation: "sync", path: directory, errno: errno) }
    }
}
