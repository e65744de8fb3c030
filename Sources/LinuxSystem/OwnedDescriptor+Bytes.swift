import CLinux

// Blocking or non-blocking reads and writes outside the data plane (which uses IoUring).
extension OwnedDescriptor {
    /// `read(2)`: how many bytes came; 0 at the end.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: the caller's buffer, with its own count.
        return try retrying("read") { unsafe CLinux.read(descriptor, buffer.baseAddress, buffer.count) }
    }

    /// `write(2)`: how many bytes went.
    public borrowing func write(_ buffer: UnsafeRawBufferPointer) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: the caller's buffer, with its own count.
        return try retrying("write") { unsafe CLinux.write(descriptor, buffer.baseAddress, buffer.count) }
    }

    /// `pread(2)`: how many bytes came; 0 at the end.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: the caller's buffer, with its own count.
        return try retrying("pread") {
            unsafe pread(descriptor, buffer.baseAddress, buffer.count, off_t(truncatingIfNeeded: offset))
        }
    }

    /// `pwrite(2)`: how many bytes went.
    public borrowing func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(SystemError) -> Int {
        let descriptor = rawValue
        // SAFETY: the caller's buffer, with its own count.
        return try retrying("pwrite") {
            unsafe pwrite(descriptor, buffer.baseAddress, buffer.count, off_t(truncatingIfNeeded: offset))
        }
    }

    /// Writes all of it, however often the kernel stops short. For blocking descriptors.
    public borrowing func writeAll(_ bytes: [UInt8]) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let descriptor = rawValue
            let start = done
            // SAFETY: the slice lies in the array, which outlives the call.
            done += try retrying("write") {
                unsafe bytes.withUnsafeBytes { unsafe CLinux.write(descriptor, $0.baseAddress! + start, $0.count - start) }
            }
        }
    }

    /// Fills the whole of `count` bytes, or stops at the end of the file: then fewer come back. For blocking descriptors.
    public borrowing func readAll(_ count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let descriptor = rawValue
            let start = done
            // SAFETY: the slice lies in the array, which outlives the call.
            let came = try retrying("read") {
                unsafe bytes.withUnsafeMutableBytes { unsafe CLinux.read(descriptor, $0.baseAddress! + start, count - start) }
            }
            if came == 0 { break }
            done += came
        }
        bytes.removeLast(count - done)
        return bytes
    }
}

/// Small whole files: /proc, /sys, a module list.
public enum SmallFile {
    /// All bytes of a file, whatever size stat claims (files in /proc claim 0).
    /// `EFBIG` past `limit`.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
        let file = try OwnedDescriptor(path: path, .readOnly)
        var bytes: [UInt8] = []
        while true {
            let part = try file.readAll(4096)
            bytes.append(contentsOf: part)
            if part.count < 4096 { return bytes }
            if bytes.count > limit { throw SystemError(code: EFBIG, call: "read") }
        }
    }

    /// The same as text, without the final newline.
    public static func readText(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> String {
        var bytes = try read(path, limit: limit)
        if bytes.last == 10 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// One write of `text` to an existing file, as /proc and /sys want it.
    public static func write(_ text: String, to path: String) throws(SystemError) {
        let file = try OwnedDescriptor(path: path, .writeOnly)
        try file.writeAll(Array(text.utf8))
    }
}

/// The names in a directory.
public enum Directory {
    /// All entries but . and .., in no order.
    public static func entries(_ path: String) throws(SystemError) -> [String] {
        var names: [String] = []
        // SAFETY: the context pointer is `names`, alive and not touched otherwise during the call; `name` is a C string.
        try retrying("readdir") {
            unsafe withUnsafeMutablePointer(to: &names) { context in
                unsafe path.withCString { path in
                    unsafe clinux_list_directory(path, context) { context, name in
                        guard let context = unsafe context, let name = unsafe name else { return 1 }
                        unsafe context.assumingMemoryBound(to: [String].self).pointee.append(String(cString: name))
                        return 0
                    }
                }
            }
        }
        return names
    }

    /// `mkdir(2)`; existing is fine.
    public static func create(_ path: String, permissions: UInt32 = 0o755) throws(SystemError) {
        // SAFETY: the C string lives as long as the call.
        if unsafe path.withCString({ unsafe mkdir($0, permissions) }) != 0 {
            let code = clinux_errno()
            if code != EEXIST { throw SystemError(code: code, call: "mkdir") }
        }
    }

    /// `unlink(2)`; missing is fine.
    public static func removeFile(_ path: String) throws(SystemError) {
        // SAFETY: the C string lives as long as the call.
        if unsafe path.withCString({ unsafe unlink($0) }) != 0 {
            let code = clinux_errno()
            if code != ENOENT { throw SystemError(code: code, call: "unlink") }
        }
    }
}
