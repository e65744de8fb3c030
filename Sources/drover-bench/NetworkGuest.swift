import Foundation

/// The guest of the network figures: a kernel of Debian's from the image cache, busybox, and a NIC that is forwarded to virtio-net as in a DD/OS.
///
/// Without a server stub in charge, so that all kinds of machine that are compared have exactly the same guest. With `bench.endpoint` the guest is itself where packets come from and
/// go to, and a number on its console has it measure the NIC's control operations so many times.
struct NetworkGuest {
    let kernel: String
    let initramfs: String

    /// In the order in which they are loaded; built-in ones are missing among the files.
    private static let modules = [
        "failover", "net_failover", "virtio_net", "pps_core", "ptp", "e1000e", "sch_ingress", "cls_matchall", "act_mirred",
    ]

    private static let script = """
        #!/bin/sh
        mount -t proc proc /proc
        mount -t sysfs sys /sys
        mount -t devtmpfs dev /dev
        for module in \(modules.joined(separator: " ")); do [ -f /$module.ko ] && insmod /$module.ko; done
        mtu=$(sed 's/.*bench.mtu=\\([0-9]*\\).*/\\1/' /proc/cmdline)
        for path in /sys/class/net/*; do
            case $(readlink $path/device/driver) in
            */virtio_net) near=$(basename $path) ;;
            */e1000e) far=$(basename $path) ;;
            esac
        done
        if grep -q bench.endpoint /proc/cmdline; then
            ip link set lo up
            ip addr add 10.77.0.1/24 dev $far
            ip link set $far mtu $mtu up
            iperf3 -s >/dev/null 2>&1 &
            echo BENCH-READY
            while read times; do
                drover-server-stub --measure-control $far --times $times
                echo "control end $?"
            done </dev/ttyS0
        fi
        forward() {
            ip link set $1 mtu $mtu
            ip link set $1 up promisc on
            /bin/tc qdisc add dev $1 clsact
            /bin/tc filter add dev $1 ingress matchall action mirred egress redirect dev $2
        }
        forward $near $far
        forward $far $near
        echo BENCH-READY
        while :; do sleep 1000; done
        """

    /// Has the server stub be process 1, as in a DD/OS.
    static let serverStubParameters =
        "rdinit=/bin/drover-server-stub drover.class=network drover.device=0000:00:10.0 drover.channel=0000:00:13.0 drover.port=4050"
    private static let vsockModules = ["vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"]

    /// Makes the initramfs in `directory`.
    init(in directory: String, programs: String) throws {
        let cache = ProcessInfo.processInfo.environment["DROVER_CACHE_DIR"] ?? "/var/cache/drover"
        let files = FileManager.default
        let kernels = ((try? files.contentsOfDirectory(atPath: cache + "/kernels")) ?? []).sorted().map { "\(cache)/kernels/\($0)" }
        guard let place = kernels.first(where: { files.fileExists(atPath: $0 + "/modules") && files.fileExists(atPath: $0 + "/vmlinux") })
        else {
            throw BenchFailure(text: "there is no kernel in \(cache): build an image first ('drover image build debian-6.1')")
        }
        kernel = place + "/vmlinux"
        initramfs = directory + "/initramfs"
        let root = directory + "/root"
        for folder in ["bin", "proc", "sys", "dev", "tmp", "etc/drover"] {
            try files.createDirectory(atPath: "\(root)/\(folder)", withIntermediateDirectories: true)
        }
        try Tool.run("cp", "/bin/busybox", root + "/bin/busybox")
        for name in ["sh", "mount", "insmod", "sed", "readlink", "basename", "ip", "sleep", "echo", "grep"] {
            try files.createSymbolicLink(atPath: "\(root)/bin/\(name)", withDestinationPath: "busybox")
        }
        let found = try Tool.run("find", place + "/modules", "-name", "*.ko.xz").split(separator: "\n").map(String.init)
        var list = ""
        for module in Self.modules + Self.vsockModules {
            guard let file = found.first(where: { $0.hasSuffix("/\(module).ko.xz") }) else { continue }
            try Tool.run("sh", "-c", "xz -dc '\(file)' > '\(root)/\(module).ko'")
            list += "/\(module).ko\n"
        }
        try list.write(toFile: root + "/etc/drover/modules", atomically: true, encoding: .utf8)
        // With their libraries.
        for program in ["tc", "iperf3"] {
            try Tool.run(
                "sh", "-c",
                "p=$(command -v \(program)); cp $p '\(root)/bin/\(program)'; for l in $(ldd $p | grep -o '/[^ ]*'); do mkdir -p \"\(root)$(dirname $l)\"; cp -L $l \"\(root)$l\"; done"
            )
        }
        let stub = programs + "/drover-server-stub.guest"
        guard files.fileExists(atPath: stub) else { throw BenchFailure(text: "there is no \(stub): run make build") }
        try Tool.run("cp", stub, root + "/bin/drover-server-stub")
        try Self.script.write(toFile: root + "/init", atomically: true, encoding: .utf8)
        try Tool.run("sh", "-c", "chmod +x '\(root)/init'; cd '\(root)' && find . | cpio -o -H newc --quiet | gzip -1 > '\(initramfs)'")
    }
}

/// Programs that are run to their end.
enum Tool {
    /// What it printed.
    @discardableResult
    static func run(_ words: String...) throws -> String { try run(words) }

    @discardableResult
    static func run(_ words: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try Interruption.start(process)
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchFailure(text: "'\(words.joined(separator: " "))' failed (status \(process.terminationStatus))")
        }
        return text
    }

    /// Starts a program that goes on; its output goes to a file, if anywhere.
    static func start(_ words: [String], output: String?) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        var file: FileHandle?
        if let output {
            _ = FileManager.default.createFile(atPath: output, contents: nil)
            file = FileHandle(forWritingAtPath: output)
        }
        process.standardOutput = file ?? FileHandle.nullDevice
        process.standardError = file ?? FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try Interruption.start(process)
        return process
    }
}
