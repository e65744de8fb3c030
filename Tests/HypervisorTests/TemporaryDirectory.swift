import Foundation

/// A directory for one test, removed with everything in it when the value ends.
final class TemporaryDirectory: Sendable {
    let path: String

    init(in place: String = "/tmp/") {
        var template = Array("\(place)drover-hv-XXXXXX".utf8CString)
        path = mkdtemp(&template) == nil ? "" : String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        if !path.isEmpty { try? FileManager.default.removeItem(atPath: path) }
    }

    func write(_ text: String, to name: String) throws {
        let file = path + "/" + name
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try text.write(toFile: file, atomically: true, encoding: .utf8)
    }
}
