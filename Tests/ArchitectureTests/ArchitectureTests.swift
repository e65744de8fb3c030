import Foundation
import Testing

@Suite("Architecture")
struct ArchitectureTests {
    /// The checkout, found from this file: Tests/ArchitectureTests/….
    private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func swiftFiles(below folder: URL) throws -> [URL] {
        let walk = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        return walk.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }
    }

    private func swiftRooms() throws -> [String] {
        let sources = root.appending(path: "Sources")
        return try FileManager.default.contentsOfDirectory(atPath: sources.path).filter { room in
            try !swiftFiles(below: sources.appending(path: room)).isEmpty
        }
    }

    /// The modules that a file's `import` lines name.
    private func imports(of file: URL) throws -> Set<String> {
        let words: Set<Substring> = [
            "public", "internal", "package", "private", "fileprivate", "@testable", "@preconcurrency", "@_exported",
        ]
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
        var found: Set<String> = []
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            let parts = line.split(separator: " ").drop { words.contains($0) }
            guard parts.first == "import", let module = parts.dropFirst().drop(while: { kinds.contains($0) }).first else { continue }
            found.insert(String(module.prefix { $0 != "." }))
        }
        return found
    }

    @Test func everyRoomIsOnTheMap() throws {
        for room in try swiftRooms() {
            #expect(Arrows.rooms[room] != nil, "Sources/\(room) is not in Arrows.rooms: say what it may import")
        }
    }

    @Test func everyRoomIsInTheReadersPicture() throws {
        let text = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let start = try #require(text.range(of: "## Architecture\n\n```\n"), "the README begins its architecture with a picture")
        let end = try #require(text.range(of: "\n```\n", range: start.upperBound..<text.endIndex))
        let picture = text[start.upperBound..<end.lowerBound]
        let words = Set(picture.split { !$0.isLetter && !$0.isNumber && $0 != "-" }.map(String.init))
        for room in try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "Sources").path) {
            #expect(words.contains(room), "Sources/\(room) is not in the README's picture")
        }
        for line in picture.split(separator: "\n") where line.contains("◇") {
            for part in line.components(separatedBy: "◇").dropLast() {
                let room = try #require(part.split { !$0.isLetter && !$0.isNumber && $0 != "-" }.last.map(String.init))
                #expect(Arrows.shared.contains(room), "the README says that \(room) compiles for the guest")
            }
        }
    }

    @Test func importsFollowTheArrows() throws {
        for room in try swiftRooms() {
            let allowed = Arrows.rooms[room] ?? []
            for file in try swiftFiles(below: root.appending(path: "Sources/\(room)")) {
                for module in try imports(of: file) where !allowed.contains(module) {
                    #expect(Arrows.rooms[module] == nil, "\(room)/\(file.lastPathComponent) imports \(module): against the arrows")
                    if Arrows.shared.contains(room) {
                        #expect(
                            Arrows.embedded.contains(module), "\(room)/\(file.lastPathComponent) imports \(module): not in Embedded Swift")
                    } else if let users = Arrows.outside[module] {
                        if let users {
                            #expect(
                                users.contains(room),
                                "\(room)/\(file.lastPathComponent) imports \(module), which belongs to \(users.sorted())")
                        }
                    } else {
                        #expect(
                            Arrows.embedded.contains(module), "\(room)/\(file.lastPathComponent) imports \(module), which no list names")
                    }
                }
            }
        }
    }

    @Test func theArrowsHaveNoCycle() {
        func reaches(_ from: String, _ to: String, _ seen: inout Set<String>) -> Bool {
            guard seen.insert(from).inserted else { return false }
            return (Arrows.rooms[from] ?? []).contains { $0 == to || reaches($0, to, &seen) }
        }
        for room in Arrows.rooms.keys {
            var seen: Set<String> = []
            #expect(!reaches(room, room, &seen), "\(room) reaches itself")
        }
    }

    @Test func filesHaveOneReasonToExist() throws {
        for folder in ["Sources", "Tests"] {
            for file in try swiftFiles(below: root.appending(path: folder)) {
                let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false).count
                #expect(lines <= 501, "\(file.lastPathComponent) has \(lines) lines: what second thing does it do?")
            }
        }
    }

    @Test func unsafeCodeSaysWhyItIsSound() throws {
        for file in try swiftFiles(below: root.appending(path: "Sources")) {
            let text = try String(contentsOf: file, encoding: .utf8)
            if text.contains("unsafe ") && !text.contains("// SAFETY") {
                // A word in a comment is no use of the keyword.
                let code = text.split(separator: "\n").filter { !$0.drop(while: { $0 == " " }).hasPrefix("//") }
                #expect(!code.contains { $0.contains(" unsafe ") }, "\(file.lastPathComponent) uses unsafe code without a SAFETY line")
            }
        }
    }

    @Test func theTopLevelIsShort() throws {
        let known: Set<String> = [
            "Package.swift", "Package.resolved", "Sources", "Tests", "Images", "Configs", "README.md", "Makefile", "LICENSE",
        ]
        for name in try FileManager.default.contentsOfDirectory(atPath: root.path) where !name.hasPrefix(".") {
            #expect(known.contains(name), "\(name) does not belong at the top level")
        }
    }
}
