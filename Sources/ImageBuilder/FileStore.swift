internal import Glibc

/// Calls on files, with errors that say what was done to which file.
enum FileStore {
    static func makeDirectory(_ path: String) throws(ImageError) {
        if mkdir(path, 0o755) == 0 { return }
        let code = errno
        switch code {
        case EEXIST: return
        case ENOENT:
            let parent = directory(of: path)
            guard parent != path else { throw failure("create", path, code) }
            try makeDirectory(parent)
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure("create", path, errno) }
        default: throw failure("create", path, code)
        }
    }

    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func fileName(of path: String) -> String {
        String(path.split(separator: "/").last ?? "")
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Size in bytes; nil when there is no such file.
    static func size(_ path: String) -> UInt64? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_size) : nil
    }

    /// What changes when the file does: size, times, inode. Empty when there is no such file.
    static func stamp(_ path: String) -> String {
        var status = stat()
        guard stat(path, &status) == 0 else { return "" }
        return "\(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }

    static func read(_ path: String) throws(ImageError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("read", path, errno) }
        return try read(descriptor, path, offset: 0, count: Int(status.st_size))
    }

    /// Up to `count` bytes from `offset`; fewer at the end of the file.
    static func read(_ path: String, offset: UInt64, count: Int) throws(ImageError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path, errno) }
        defer { close(descriptor) }
        return try read(descriptor, path, offset: offset, count: count)
    }

    private static func read(_ descriptor: Int32, _ path: String, offset: UInt64, count: Int) throws(ImageError) -> [UInt8] {
        guard let start = Int(exactly: offset) else { throw failure("read", path, EINVAL) }
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(descriptor, buffer.baseAddress! + filled, count - filled, start + filled)
                if got < 0, errno == EINTR { continue }
                if got < 0 { code = errno }
                if got <= 0 { break }
                filled += got
            }
        }
        guard code == 0 else { throw failure("read", path, code) }
        return bytes
    }

    /// Creates the file, or replaces what it holds.
    static func write(_ bytes: [UInt8], to path: String) throws(ImageError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw failure("create", path, errno) }
        var code: Int32 = 0
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let written = Glibc.write(descriptor, buffer.baseAddress! + done, buffer.count - done)
                if written < 0, errno == EINTR { continue }
                guard written > 0 else {
                    code = written < 0 ? errno : EIO
                    return
                }
                done += written
            }
        }
        if close(descriptor) != 0, code == 0 { code = errno }
        guard code == 0 else { throw failure("write", path, code) }
    }

    /// Replaces a file in one step: readers see the old content or the new.
    static func replace(_ path: String, with bytes: [UInt8]) throws(ImageError) {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        do throws(ImageError) {
            try write(bytes, to: temporary)
            try rename(temporary, to: path)
        } catch {
            unlink(temporary)
            throw error
        }
    }

    static func rename(_ path: String, to target: String) throws(ImageError) {
        guard Glibc.rename(path, target) == 0 else { throw failure("move \(path) to", target, errno) }
    }

    static func link(_ path: String, as target: String) throws(ImageError) {
        guard Glibc.link(path, target) == 0 else { throw failure("link \(path) as", target, errno) }
    }

    /// The names in a directory, sorted; none when there is no such directory.
    static func names(in path: String) throws(ImageError) -> [String] {
        guard let stream = opendir(path) else {
            if errno == ENOENT { return [] }
            throw failure("list", path, errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = Glibc.readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file or a whole directory, as far as it goes; symbolic links are not followed.
    static func remove(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in (try? names(in: path)) ?? [] { remove("\(path)/\(name)") }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    /// Bytes of all files below, each counted once.
    static func totalSize(_ path: String) -> UInt64 {
        var status = stat()
        guard lstat(path, &status) == 0 else { return 0 }
        guard status.st_mode & S_IFMT == S_IFDIR else { return UInt64(status.st_size) / UInt64(max(1, status.st_nlink)) }
        return ((try? names(in: path)) ?? []).reduce(0) { $0 + totalSize("\(path)/\($1)") }
    }

    static func failure(_ operation: String, _ path: String, _ code: Int32) -> ImageError {
        code == ENOSPC || code == EDQUOT
            ? .diskFull(path: path) : .fileSystem(operation: operation, path: path, errno: code)
    }
}
