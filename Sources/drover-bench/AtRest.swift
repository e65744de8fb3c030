import Foundation

/// What a DD/OS costs when nothing asks it for anything: a stock kernel with an emulated NVMe controller, measured by `drover report`.
struct AtRest: Encodable {
    /// From `drover start` to ready, the median of three, the image already built.
    let startToReadySeconds: Double
    let intervalSeconds: Double
    /// Of the VM, its VMM and its client stub; 1 is a whole CPU.
    let shareOfOneCPU: Double
    let guestBytes: UInt64
    let vmmBytes: UInt64
    let stubBytes: UInt64
    /// The supervisor's own.
    let supervisorShareOfOneCPU: Double

    /// - Parameter programs: where `drover` and `droverd` are.
    static func measure(programs: String, seconds: Int, progress: (String) -> Void) throws -> AtRest {
        let drover = "\(programs)/drover"
        guard FileManager.default.isExecutableFile(atPath: drover), FileManager.default.isExecutableFile(atPath: "\(programs)/droverd")
        else {
            throw BenchFailure(text: "drover and droverd are not in \(programs): run make build, or leave this part out with --no-machine.")
        }
        let place = try WorkDirectory(in: "/tmp")
        defer { place.remove() }
        let configuration = """
            ddos:
              rest0:
                class: block
                device: { emulated: nvme, backing: { file: \(place.path)/rest0.img, size: 256MiB } }
                image: debian-6.1
                memory: 128MiB
                frontends: [ nbd ]

            """
        let file = "\(place.path)/rest.yaml"
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: file))
        let supervisor = ["--run-dir", "\(place.path)/run"]

        progress("a DD/OS at rest: starting it (the first time its image is built)")
        try run([drover, "up", "-f", file] + supervisor, seconds: 900)
        defer { _ = try? run([drover, "down"] + supervisor, seconds: 60) }
        var starts: [Double] = []
        for attempt in 1...3 {
            progress("a DD/OS at rest: start to ready, \(attempt)/3")
            try run([drover, "stop", "rest0"] + supervisor, seconds: 60)
            let before = DispatchTime.now().uptimeNanoseconds
            try run([drover, "start", "rest0"] + supervisor, seconds: 120)
            starts.append(Double(DispatchTime.now().uptimeNanoseconds - before) / 1e9)
        }
        // The guest still tidies up after its boot.
        sleep(5)
        progress("a DD/OS at rest: measuring for \(seconds) s")
        let text = try run([drover, "report", "--json", "--interval", String(seconds)] + supervisor, seconds: seconds + 60)
        guard let report = try? JSONDecoder().decode(Report.self, from: Data(text.utf8)), let ddos = report.ddos.first else {
            throw BenchFailure(text: "drover's report cannot be read: \(text.prefix(300))")
        }
        return AtRest(
            startToReadySeconds: starts.sorted()[1], intervalSeconds: report.intervalSeconds, shareOfOneCPU: ddos.cpu.shareOfOneCPU,
            guestBytes: ddos.guestBytes, vmmBytes: ddos.vmmBytes, stubBytes: ddos.stubBytes,
            supervisorShareOfOneCPU: report.supervisor.shareOfOneCPU)
    }

    var text: String {
        func mebibytes(_ bytes: UInt64) -> String { String(format: "%.1f MiB", Double(bytes) / 1_048_576) }
        return """
            A DD/OS at rest (stock Debian kernel, emulated NVMe, 128 MiB), over \(String(format: "%.0f", intervalSeconds)) s:
              CPU of VM, VMM and client stub  \(String(format: "%.2f %%", shareOfOneCPU * 100)) of one CPU
              CPU of the supervisor           \(String(format: "%.2f %%", supervisorShareOfOneCPU * 100)) of one CPU
              memory                          guest \(mebibytes(guestBytes)), VMM \(mebibytes(vmmBytes)), client stub \(mebibytes(stubBytes))
              start to ready                  \(String(format: "%.2f", startToReadySeconds)) s
            """
    }

    /// Runs a program to its end; its standard output, if it succeeded.
    @discardableResult
    private static func run(_ arguments: [String], seconds: Int) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["-k", "5", String(seconds)] + arguments
        let output = Pipe()
        process.standardOutput = output
        // Its progress and its complaints are for the person.
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchFailure(text: "'\(arguments.joined(separator: " "))' failed with status \(process.terminationStatus)")
        }
        return text
    }

    // As drover documents it.
    private struct Report: Decodable {
        let intervalSeconds: Double
        let ddos: [Usage]
        let supervisor: Supervisor
        struct Usage: Decodable {
            let cpu: CPU
            let guestBytes: UInt64
            let vmmBytes: UInt64
            let stubBytes: UInt64
        }
        struct CPU: Decodable { let shareOfOneCPU: Double }
        struct Supervisor: Decodable { let shareOfOneCPU: Double }
    }
}
