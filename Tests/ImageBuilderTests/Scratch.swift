import Foundation

/// A directory for one test, gone afterwards.
final class Scratch {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("drover-image-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8], executable: Bool = false) throws -> String {
        let url = URL(fileURLWithPath: file(name))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
        if executable { try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: url.path) }
        return url.path
    }

    /// A file that passes for the guest's PID 1.
    func serverStub(_ content: String = "stub") throws -> String {
        try write("server-stub", Self.executable(notes: []) + Array(content.utf8), executable: true)
    }

    /// A 64-bit x86 ELF file whose only segment, if any, holds notes; or a dynamic linker's name.
    static func executable(notes: [UInt8], interpreter: Bool = false) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 64 + 56)
        func put(_ value: UInt64, _ offset: Int, _ width: Int) {
            for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        bytes.replaceSubrange(0..<6, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1])
        put(62, 0x12, 2)
        put(64, 0x20, 8)
        put(56, 0x36, 2)
        put(1, 0x38, 2)
        put(interpreter ? 3 : 4, 64, 4)
        put(120, 64 + 8, 8)
        put(UInt64(notes.count), 64 + 32, 8)
        return bytes + notes
    }

    /// Xen's note with the 32-bit entry point.
    static let pvhNote: [UInt8] =
        [4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0] + Array("Xen\0".utf8) + [0, 0, 0, 1]
}
