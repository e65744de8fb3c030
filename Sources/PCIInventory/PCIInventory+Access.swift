internal import CPCI
internal import Glibc

/// An open libpci. Not for sharing between threads.
struct Access: ~Copyable {
    private let handle: OpaquePointer

    init(sysfsPath: String) throws(PCIError) {
        // libpci calls its error handler for this too, but says less.
        let devices = "\(sysfsPath)/devices"
        guard access(devices, R_OK) == 0 else {
            throw .unavailable(reason: "\(devices): \(String(cString: strerror(errno)))")
        }
        var reason = [CChar](repeating: 0, count: 256)
        guard let handle = drover_pci_open(sysfsPath, &reason, reason.count) else {
            throw .unavailable(reason: text(reason))
        }
        self.handle = handle
    }

    deinit { drover_pci_close(handle) }

    var count: Int { Int(drover_pci_count(handle)) }

    func function(_ index: Int) throws(PCIError) -> drover_pci_function {
        var function = drover_pci_function()
        var reason = [CChar](repeating: 0, count: 256)
        guard drover_pci_get(handle, Int32(index), &function, &reason, reason.count) == 0 else {
            throw .unavailable(reason: text(reason))
        }
        return function
    }

    func name(_ look: (OpaquePointer, UnsafeMutablePointer<CChar>, Int) -> Int32) -> String? {
        var buffer = [CChar](repeating: 0, count: 512)
        let status = buffer.withUnsafeMutableBufferPointer { look(handle, $0.baseAddress!, $0.count) }
        let name = text(buffer)
        return status == 0 && !name.isEmpty ? name : nil
    }
}

/// The last component of where a symbolic link points; nil without a link.
func linkName(_ path: String) throws(PCIError) -> String? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let length = buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
    guard length >= 0 else {
        let code = errno
        if code == ENOENT { return nil }
        throw .unreadable(path: path, errno: code)
    }
    return String(decoding: buffer[..<length], as: UTF8.self).split(separator: "/").last.map(String.init)
}

/// A small file's first line; nil without a file.
func firstLine(_ path: String) throws(PCIError) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        let code = errno
        if code == ENOENT { return nil }
        throw .unreadable(path: path, errno: code)
    }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let length = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress!, $0.count) }
    guard length >= 0 else { throw .unreadable(path: path, errno: errno) }
    return String(decoding: buffer[..<length].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}

private func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
