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

    /// Read when the bus was listed: also of a function that has gone since. Nil for an impossible one.
    func address(_ index: Int) throws(PCIError) -> PCIAddress? {
        var raw = drover_pci_function()
        guard drover_pci_address(handle, Int32(index), &raw) == 0 else { throw .unavailable(reason: "no function number \(index)") }
        return PCIAddress(domain: raw.domain, bus: raw.bus, device: raw.device, function: raw.function)
    }

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
    try linkText(path)?.split(separator: "/").last.map(String.init)
}

/// Where a symbolic link points; nil without a link.
func linkText(_ path: String) throws(PCIError) -> String? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let length = buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
    guard length >= 0 else {
        let code = errno
        if code == ENOENT { return nil }
        throw .unreadable(path: path, errno: code)
    }
    return String(decoding: buffer[..<length], as: UTF8.self)
}

/// A small file's first line; nil without a file.
func firstLine(_ path: String) throws(PCIError) -> String? {
    try wholeText(path).map { String($0.prefix { $0 != "\n" }) }
}

/// A small file's text; nil without a file.
func wholeText(_ path: String) throws(PCIError) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        let code = errno
        // ENODEV: the kernel has begun to remove it.
        if code == ENOENT || code == ENODEV { return nil }
        throw .unreadable(path: path, errno: code)
    }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    // An attribute of sysfs is one page; /proc's tables come in several reads, and end somewhere.
    while text.count < 1 << 22 {
        let length = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress!, $0.count) }
        if length < 0 {
            let code = errno
            if code == EINTR { continue }
            if code == ENODEV { return nil }
            throw .unreadable(path: path, errno: code)
        }
        if length == 0 { break }
        text += buffer[..<length]
    }
    return String(decoding: text, as: UTF8.self)
}

private func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Names in a directory, sorted, without `.` and `..`; none if it can't be read.
func directoryNames(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}
