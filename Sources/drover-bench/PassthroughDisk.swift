import Foundation

/// A disk controller: fio on the kernel's block device, and on the DD/OS's NBD export.
struct PassthroughDisk: PassthroughBench {
    let address: String
    let programs: String
    let image: String
    let seconds: Double

    var name: String { "Disk at \(address)" }
    var unit: String { "Requests a second" }
    var share: String { "a million requests" }

    /// Of the disk; the rest of it is not touched.
    private static let mebibytes = 256

    func native(_ progress: (String) -> Void) throws -> [PassthroughReport.Figure] {
        try run(on: .device(path: Self.blockDevice(of: address)), "native", progress)
    }

    func throughDrover(_ progress: (String) -> Void) throws -> [PassthroughReport.Figure] {
        progress("a DD/OS takes it")
        let machines = try SupervisedMachines(programs: programs, names: ["disk0"]) { _, _ in
            PassthroughKeys.of(address, image, deviceClass: "block")
        }
        defer { machines.remove() }
        return try run(on: .nbd(socket: machines.socket("disk0")), "Drover", progress)
    }

    private func run(
        on target: Fio.Target, _ title: String, _ progress: (String) -> Void
    ) throws -> [PassthroughReport.Figure] {
        try Workload.all.map { workload in
            progress("\(title), \(workload.name)")
            let before = try WholeMachine.busySeconds()
            let run = try Fio.run(workload, on: target, seconds: seconds, mebibytes: Self.mebibytes)
            let busy = try WholeMachine.busySeconds() - before
            return PassthroughReport.Figure(workload: workload.name, rate: run.iops, cpu: busy * 1e6 / Double(max(1, run.requests)))
        }
    }

    /// The whole disk that hangs below a PCI function. The driver may still be finding it.
    static func blockDevice(of address: String) throws -> String {
        let deadline = Date(timeIntervalSinceNow: 30)
        while true {
            for name in ((try? FileManager.default.contentsOfDirectory(atPath: "/sys/block")) ?? []).sorted() {
                guard let place = try? FileManager.default.destinationOfSymbolicLink(atPath: "/sys/block/\(name)"),
                    place.contains("/\(address)/"), FileManager.default.fileExists(atPath: "/dev/\(name)")
                else { continue }
                return "/dev/\(name)"
            }
            guard Date() < deadline else { throw BenchFailure(text: "\(address) has no disk that the host's driver has found") }
            usleep(100_000)
        }
    }
}

/// What a DD/OS of a real device is configured as. Patient: the machine may be an emulated one.
enum PassthroughKeys {
    static func of(_ address: String, _ image: String, deviceClass: String) -> [String] {
        [
            "class: \(deviceClass)", "device: { pci: \"\(address)\" }", "image: \(image)", "boot: { deadline: 10min }",
            "requests: { \(deviceClass == "block" ? "deadline: 60s, " : "")pingTimeout: 15s }",
        ]
    }
}
