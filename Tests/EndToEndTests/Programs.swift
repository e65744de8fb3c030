import Foundation

/// The programs under test and the clients that test them. What is missing is a failure, never a reason to skip.
struct Programs {
    let folder: String
    var drover: String { folder + "/drover" }
    var droverd: String { folder + "/droverd" }

    init() throws {
        guard geteuid() == 0 else { throw Failure("these tests start virtual machines: run them as root ('sudo make end-to-end')") }
        guard let folder = ProcessInfo.processInfo.environment["DROVER_LIBEXEC"] else {
            throw Failure("DROVER_LIBEXEC does not say where the programs are: run these tests with 'make end-to-end'")
        }
        self.folder = folder
        let own = ["drover", "droverd", "drover-client-stub", "drover-server-stub.guest"].map { "\(folder)/\($0)" }
        let clients = ["fio", "qemu-io", "qemu-nbd"].map(Self.client)
        let missing = (own + clients).filter { !FileManager.default.isExecutableFile(atPath: $0) }
        guard missing.isEmpty else { throw Failure("missing: \(missing.joined(separator: ", ")); 'make build' makes or installs them") }
    }

    static func client(_ name: String) -> String { "/usr/bin/\(name)" }
}
