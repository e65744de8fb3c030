import Foundation

/// The least memory that a DD/OS was seen to work in, found by halving.
struct MemoryNeed: Encodable {
    let device: String
    /// What the image's recipe gives it.
    let recipeMiB: Int
    let leastMiB: Int
    /// What went wrong with less; nil: nothing, the configuration takes no less.
    let failure: String?

    static let disks = [
        "nvme", "ahci", "sym53c8xx", "megaraid_sas", "vmw_pvscsi", "virtio_blk", "virtio_scsi", "sdhci", "usb-storage",
    ]
    static let cards = CardTraffic.mtus.keys.sorted()

    /// The configuration takes no less.
    private static let floor = 24

    static func measure(device: String, image: String, step: Int, starts: Int, programs: String) throws -> MemoryNeed {
        progress("\(device): as \(image) has it (the first time the image is built)")
        let recipe = try attempt(device, image, memory: nil, starts: starts, programs)
        if let failure = recipe.failure { throw BenchFailure(text: "\(device) does not work on \(image): \(failure)") }
        // Halving: `low` steps below the recipe's do, `high` do not, or are less than the configuration takes.
        var (low, high) = (0, (recipe.memoryMiB - floor) / step + 1)
        var failure: String?
        while high - low > 1 {
            let middle = (low + high) / 2
            progress("\(device): \(recipe.memoryMiB - middle * step) MiB")
            if let reason = try attempt(device, image, memory: recipe.memoryMiB - middle * step, starts: starts, programs).failure {
                (high, failure) = (middle, reason)
            } else {
                low = middle
            }
        }
        return MemoryNeed(device: device, recipeMiB: recipe.memoryMiB, leastMiB: recipe.memoryMiB - low * step, failure: failure)
    }

    /// Starts a DD/OS some times, and has it work each time.
    private static func attempt(
        _ device: String, _ image: String, memory: Int?, starts: Int, _ programs: String
    ) throws -> (memoryMiB: Int, failure: String?) {
        let isDisk = disks.contains(device)
        let traffic = isDisk ? nil : try CardTraffic(device)
        defer { traffic?.remove() }
        let machines = try SupervisedMachines(programs: programs, names: ["need\(getpid())"]) { name, folder in
            let place = traffic.map { "wire: { tap: \($0.tap) }" } ?? "backing: { file: \(folder)/disk.img, size: 64MiB }"
            return [
                "class: \(isDisk ? "block" : "network")", "device: { emulated: \(device), \(place) }", "image: \(image)",
                "autostart: false", "boot: { deadline: 20s }", "restart: { quarantine: { failures: 1, within: 1h } }",
            ]
                + (traffic.map { ["interface: { name: \($0.interface), namespace: \($0.host) }", "settings: { mtu: \($0.mtu) }"] } ?? [])
                + (memory.map { ["memory: \($0)MiB"] } ?? [])
        }
        defer { machines.remove() }
        let name = machines.names[0]
        var given = 0
        for _ in 0..<starts {
            do {
                // The first start builds the image, which may be a kernel to compile.
                try machines.run("start", name, seconds: memory == nil ? 2400 : 120, isQuiet: memory != nil)
                if let traffic {
                    try traffic.run()
                } else {
                    try work(machines.socket(name), ["--bs=4k", "--iodepth=32"])
                    try work(machines.socket(name), ["--bs=1m", "--iodepth=8"])
                }
                let inspection = try machines.inspect(name)
                guard inspection.summary.restarts == 0 else { throw BenchFailure(text: "it was replaced under load") }
                given = inspection.memoryMiB
                try machines.run("stop", name)
            } catch let failure as BenchFailure {
                return (given, (try? machines.inspect(name).failures.last?.reason) ?? failure.text)
            }
        }
        return (given, nil)
    }

    private static func work(_ socket: String, _ arguments: [String]) throws {
        try SupervisedMachines.run(
            [
                "fio", "--name=need", "--ioengine=nbd", "--uri=nbd+unix:///?socket=\(socket)", "--rw=randwrite", "--size=64m",
                "--time_based", "--runtime=1", "--output-format=terse",
            ] + arguments, seconds: 60)
    }

    static func header(image: String, starts: Int) -> String {
        "Memory on \(image), \(starts) starts in a row  recipe     least  with less"
    }

    var text: String {
        String(
            format: "  %@ %4d MiB  %4d MiB  %@", device.padding(toLength: 34, withPad: " ", startingAt: 0) as NSString, recipeMiB, leastMiB,
            (failure ?? "not tried: the configuration takes no less") as NSString)
    }
}
