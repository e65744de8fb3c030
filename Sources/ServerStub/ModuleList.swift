internal import LinuxSystem

/// The kernel modules of the initramfs, in load order: /etc/drover/modules, a path per line with optional parameters
/// behind it; `#` starts a comment.
public struct ModuleList: Sendable {
    public struct Entry: Equatable, Sendable {
        public var path: String
        public var parameters: String

        public init(path: String, parameters: String) {
            self.path = path
            self.parameters = parameters
        }
    }

    public var entries: [Entry] = []

    public init(_ text: String) {
        for line in text.pieces(between: 10) {
            let trimmed = line.trimmed
            guard let first = trimmed.utf8.first, first != UInt8(ascii: "#") else { continue }
            let path = trimmed.pieces(between: 32, 9)[0]
            let parameters = String(decoding: Array(trimmed.utf8.dropFirst(path.utf8.count)), as: UTF8.self).trimmed
            entries.append(Entry(path: path, parameters: parameters))
        }
    }

    /// Loads them all. A failure is logged and the rest go on: the device may work without that one, and if not,
    /// the log says why.
    /// - Returns: how many are loaded now.
    func load(log: inout StubLog) -> Int {
        var loaded = 0
        for entry in entries {
            do throws(SystemError) {
                try Guest.loadModule(path: entry.path, parameters: entry.parameters)
                loaded += 1
            } catch {
                log.line("module " + entry.path.lastComponent + " did not load: " + error.description)
            }
        }
        return loaded
    }
}
