import Foundation

/// The host file that holds an emulated controller's disk: raw, sparse.
public struct BackingFile: Sendable, Equatable {
    public var path: String
    /// Bytes.
    public var size: UInt64

    /// Creates the file when it is missing, else checks that it has the size and that the model can offer it.
    ///
    /// A file that exists is never grown, cut or overwritten.
    /// - Parameter size: bytes.
    public static func prepare(path: String, size: UInt64, for model: DeviceModel) throws(HypervisorError) -> BackingFile {
        guard path.hasPrefix("/") else { throw .invalidBackingFile(path: path, reason: "its path has to be absolute") }
        if let objection = model.objection(toDiskOf: size) { throw .invalidBackingFile(path: path, reason: objection) }
        var information = stat()
        if stat(path, &information) == 0 {
            try check(path: path, information, size: size)
        } else if errno == ENOENT {
            try create(path: path, size: size)
        } else {
            throw .system(operation: "look at", path: path, errno: errno)
        }
        return BackingFile(path: path, size: size)
    }

    private static func check(path: String, _ information: stat, size: UInt64) throws(HypervisorError) {
        guard information.st_mode & S_IFMT == S_IFREG else { throw .invalidBackingFile(path: path, reason: "it is not an ordinary file") }
        guard UInt64(information.st_size) == size else {
            throw .invalidBackingFile(
                path: path,
                reason: "it has \(information.st_size) bytes, and the configuration says \(size) (\(ByteCount.text(size)))")
        }
    }

    private static func create(path: String, size: UInt64) throws(HypervisorError) {
        let directory = (path as NSString).deletingLastPathComponent
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw .system(operation: "create the directory", path: directory, errno: errno == 0 ? EIO : errno)
        }
        var system = statvfs()
        if statvfs(directory, &system) == 0 {
            // Sparse: the space is taken as the disk fills. A file system that could not hold it now is refused now, not in mid-write.
            let available = UInt64(system.f_bavail) * UInt64(system.f_frsize)
            guard available >= size else { throw .diskFull(path: path, needed: size, available: available) }
        }
        let created = FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
        guard created else { throw .system(operation: "create", path: path, errno: errno == 0 ? EIO : errno) }
        guard truncate(path, off_t(size)) == 0 else {
            let reason = errno
            try? FileManager.default.removeItem(atPath: path)
            throw .system(operation: "give its size to", path: path, errno: reason)
        }
    }
}
