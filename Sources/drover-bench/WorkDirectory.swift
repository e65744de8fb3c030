import Foundation

/// A directory of its own for sockets and files, removed at the end.
struct WorkDirectory {
    let path: String

    init(in parent: String) throws {
        var template = Array("\(parent)/\(Belongings.mine.directoryPrefix)XXXXXX".utf8CString)
        guard Interruption.before({ mkdtemp(&template) }) != nil else {
            throw BenchFailure(text: "cannot make a directory in \(parent): \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Drover's other programs are beside this one.
    static var ofThisProgram: String {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
