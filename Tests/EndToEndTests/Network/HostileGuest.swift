import ControlAPI
import ControlModel
import Foundation

/// A DD/OS whose network device is driven by a program of the test's (`Tests/HostileGuest/init.c`): the image's PID 1 holds the real server stub and
/// becomes it, and where the recipe says so leaves a child behind that does to the virtqueues what it is told by frames.
struct HostileGuest {
    /// The recipe whose images are hostile; `debian-6.1` is as always, with the same PID 1.
    static let recipe = "hostile"

    private let rig: Rig
    private let stub: String
    private let recipes: String

    init(_ rig: Rig) async throws {
        self.rig = rig
        stub = rig.dataDirectory + "/hostile-init"
        recipes = rig.dataDirectory + "/images"
        let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../HostileGuest/init.c").standardizedFileURL
        let compiler = try await rig.start(
            Programs.client("gcc"),
            [
                "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-s", "-DSTUB=\"\(rig.programs.folder)/drover-server-stub.guest\"", "-o",
                stub,
                source.path(percentEncoded: false),
            ]
        ).finish(within: .seconds(120))
        guard compiler.status == 0 else { throw Failure("gcc: \(compiler.error)") }
        try FileManager.default.createDirectory(atPath: recipes, withIntermediateDirectories: true)
        guard let folder = ProcessInfo.processInfo.environment["DROVER_IMAGES"] else {
            throw Failure("DROVER_IMAGES does not say where the recipes are: run these tests with 'make end-to-end'")
        }
        let honest = try String(contentsOfFile: folder + "/debian-6.1.yaml", encoding: .utf8)
        try honest.write(toFile: recipes + "/debian-6.1.yaml", atomically: true, encoding: .utf8)
        // The dummy interface is what the server stub forwards to instead.
        let hostile = honest.replacing("\nmodules:\n", with: "\nmodules:\n  - dummy numdummies=1\n")
            .replacing("\ncommandLine: ", with: "\ncommandLine: hostile ")
        guard hostile.contains("dummy"), hostile.contains("commandLine: hostile") else { throw Failure("the recipe has another form") }
        try hostile.write(toFile: "\(recipes)/\(Self.recipe).yaml", atomically: true, encoding: .utf8)
    }

    /// As ``Rig/up()``, with these images.
    func up() async throws {
        let command = try rig.start(
            "/usr/bin/env",
            [
                "DROVER_SERVER_STUB=\(stub)", rig.programs.drover, "up", "-f", rig.configurationFile, "--images", recipes, "--run-dir",
                rig.runDirectory,
            ])
        let output = try await command.finish(within: .seconds(900))
        guard output.status == 0 else { throw Failure("'drover up' ended with \(output.status): \(output.error)") }
    }

    /// Takes the images out of the cache again: nobody else can use them. Call it while the DD/OSs are there, at the end.
    func forgetImages() async throws {
        let cache = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? "/var/cache/drover"
        for ddos in try await rig.client.list() {
            guard let hash = try await rig.client.inspect(ddos.name).imageHash else { continue }
            try? FileManager.default.removeItem(atPath: "\(cache)/images/\(hash)")
        }
    }
}

/// Tells the hostile driver what to do, and hears what it says, by frames on the host's interface.
final class HostileWire {
    private let socket: NetworkSocket

    init(_ network: NetworkRig, _ cable: NetworkLab.Cable) throws {
        socket = try NetworkSocket.packet(network.lab.host, interface: cable.interface)
        try socket.timeout(0, microseconds: 50_000)
    }

    func tell(_ word: String) throws {
        let address: [UInt8] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0x66, 2]
        try socket.send(address + [0x88, 0xb5] + Array(word.utf8) + [UInt8](repeating: 0, count: 46 - word.utf8.count))
    }

    /// Both directions of its queues work, and all that it was told before is done.
    func greet(within limit: Duration = .seconds(60)) async throws {
        // Answers that somebody else was told of are still in the socket.
        let word = "hello-\(UInt32.random(in: 0...999_999))"
        _ = try await eventually("the hostile driver answers", within: limit) {
            try tell(word)
            return try hears(word) ? true : nil
        }
    }

    /// Whether it has said this, within some moments. Reads past everything else.
    private func hears(_ word: String) throws -> Bool {
        for _ in 0..<200 {
            guard let (frame, _) = try socket.receiveTagged() else { return false }
            let end = 14 + word.utf8.count
            if frame.count > end, frame[12] == 0x88, frame[13] == 0xb6, Array(frame[14..<end]) == Array(word.utf8) { return true }
        }
        return false
    }
}
