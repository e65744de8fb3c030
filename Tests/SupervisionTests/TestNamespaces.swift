import Foundation
import Netlink

/// Two network namespaces of a test's own: `home`, in which it runs as if it were the machine's, and `other`. Needs root. They go, with all
/// that is in them, when the body ends.
struct TestNamespaces {
    let home: String
    let other: String
    /// Where a journal may be.
    let directory: String

    var journal: String { directory + "/interface.json" }

    /// Runs with the calling thread in `home`. `body` does not suspend.
    static func with(_ body: (TestNamespaces) throws -> Void) throws {
        let tag = "drover-test-\(getpid())-\(UInt32.random(in: 0...999_999))"
        let names = TestNamespaces(home: tag + "-h", other: tag + "-o", directory: "/tmp/" + tag)
        try FileManager.default.createDirectory(atPath: names.directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: names.directory) }
        for name in [names.home, names.other] { try ip("netns", "add", name) }
        defer { for name in [names.home, names.other] { try? ip("netns", "del", name) } }
        var result: Result<Void, any Error>?
        try NetworkNamespace(path: "/run/netns/\(names.home)").perform { () throws(NetlinkError) in
            result = Result { try body(names) }
        }
        try result?.get()
    }

    /// Another namespace of the same name, whose interfaces are counted from one again.
    func makeOtherAnew() throws {
        try Self.ip("netns", "del", other)
        try Self.ip("netns", "add", other)
    }

    /// The names of the interfaces in `home`, or in `other`, without the loopback.
    func links(inOther: Bool = false) throws -> [String] {
        var links = inOther ? try LinkSocket(namespace: "/run/netns/\(other)") : try LinkSocket()
        return try links.links().map(\.name).filter { $0 != "lo" }.sorted()
    }

    func link(_ name: String, inOther: Bool = false) throws -> Link {
        var links = inOther ? try LinkSocket(namespace: "/run/netns/\(other)") : try LinkSocket()
        return try links.link(named: name)
    }

    static func ip(_ words: String...) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["ip"] + words
        try process.run()
        process.waitUntilExit()
        struct Failed: Error { var words: [String] }
        if process.terminationStatus != 0 { throw Failed(words: words) }
    }
}
