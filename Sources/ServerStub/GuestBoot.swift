internal import CLinux
internal import LinuxSystem
internal import VirtioMessage

/// What PID 1 does before it can serve.
public enum GuestBoot {
    /// Mounts what the stub reads: proc, sysfs, devtmpfs.
    ///
    /// - Returns: what failed, to be logged once there is a console (devtmpfs holds it).
    static func mountFileSystems() -> [String] {
        var failures: [String] = []
        for (target, type) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs")] {
            do throws(SystemError) {
                try Directory.create(target)
                try Guest.mount(type, on: target, type: type)
            } catch {
                // Kernels with CONFIG_DEVTMPFS_MOUNT may have done it; EBUSY says so.
                if error.code != EBUSY { failures.append(target + " did not mount: " + error.description) }
            }
        }
        return failures
    }

    /// The console, or standard error where there is none.
    static func console() -> OwnedDescriptor {
        do throws(SystemError) {
            return try OwnedDescriptor(path: "/dev/console", .writeOnly)
        } catch {
            return OwnedDescriptor(adopting: 2)
        }
    }

    /// Waits until disks are there and their number stays the same for a moment.
    ///
    /// - Parameter deadline: in nanoseconds of the monotonic clock.
    static func waitForDisks(_ discovery: DiskDiscovery, driversAreBuiltIn: Bool, until deadline: UInt64) -> [FoundDisk] {
        var before: [FoundDisk] = []
        while true {
            let now = discovery.scan()
            if !now.isEmpty, now == before { return now }
            // The second look is for controllers with several disks: the kernel adds them one by one.
            let pause = now.isEmpty ? 5_000_000 : settlingTime(of: now, driversAreBuiltIn)
            if pause == 0 || Clock.monotonic() + pause > deadline { return now }
            before = now
            Clock.sleep(nanoseconds: pause)
        }
    }

    /// How long after the last disk another one may still appear, in nanoseconds.
    private static func settlingTime(of disks: [FoundDisk], _ driversAreBuiltIn: Bool) -> UInt64 {
        // A virtio-blk function is one disk.
        if disks.allSatisfy({ $0.name.begins(with: "vd") }) { return 0 }
        // NVMe's namespaces come at the pace of one command each. A driver that the kernel started by itself has found them all before there was
        // a first process (nvme_async_probe waits for its scan, kernel_init for asynchronous probes). On a SCSI bus targets are waited for.
        if disks.allSatisfy({ $0.name.begins(with: "nvme") }) { return driversAreBuiltIn ? 0 : 20_000_000 }
        return 100_000_000
    }

    /// Connects to the client stub, again and again until the deadline: the vsock device may still be coming up.
    static func connect(port: UInt32, until deadline: UInt64) throws(SystemError) -> OwnedDescriptor {
        while true {
            do throws(SystemError) {
                return try VsockSocket.connect(cid: VsockSocket.hostCID, port: port)
            } catch {
                if Clock.monotonic() > deadline { throw error }
                Clock.sleep(nanoseconds: 50_000_000)
            }
        }
    }

    /// The end of the guest: a panic, which the supervisor sees at once; a halt where that fails.
    public static func die() -> Never {
        do throws(SystemError) { try Guest.panic() } catch {}
        do throws(SystemError) { try Guest.powerOff() } catch {}
        while true { Clock.sleep(nanoseconds: 1_000_000_000) }
    }

    /// All of PID 1's life.
    public static func run() -> Never {
        var clock = BootClock()
        let failures = mountFileSystems()
        var log = StubLog(output: console(), sinceBoot: true)
        for failure in failures { log.line(failure) }
        ProcessControl.ignoreBrokenPipes()
        let options = KernelCommandLine(text("/proc/cmdline"))
        let modules = ModuleList(text("/etc/drover/modules"))
        let loaded = modules.load(log: &log)
        log.line("modules: " + decimal(loaded) + " of " + decimal(modules.entries.count))
        clock.modulesLoaded()
        if options.isNetwork {
            serveNetwork(options, clock, log: log)
        } else {
            serve(options, driversAreBuiltIn: modules.entries.isEmpty, clock, log: log)
        }
        die()
    }

    /// From finding the disks to the end of the connection; what went wrong is on the console.
    private static func serve(
        _ options: KernelCommandLine, driversAreBuiltIn: Bool, _ clock: BootClock, log: consuming StubLog
    ) {
        var clock = clock
        let deadline = Clock.monotonic() + UInt64(options.waitSeconds) * 1_000_000_000
        var disks = DiskQueue()
        for disk in waitForDisks(DiskDiscovery(device: options.device), driversAreBuiltIn: driversAreBuiltIn, until: deadline) {
            open(disk, until: deadline, into: &disks, log: &log)
        }
        if disks.count == 0 { log.line("no disk appeared below " + options.device) }
        clock.devicesFound()
        var doing = "pool"
        do throws(SystemError) {
            let pool = try ServerPool.guest()
            log.line("pool: " + decimal(pool.byteCount >> 20) + " MiB in " + decimal(pool.extents.count) + " extents")
            doing = "connection to the client stub"
            let socket = try connect(port: options.port, until: deadline)
            clock.connected()
            log.line(clock.text)
            doing = "serving"
            let settings = StubServer.Options(pollCap: UInt64(options.pollMicroseconds ?? defaultPoll()) * 1000)
            // The log moves into the server; what is said after that goes to the console alone.
            var server = try StubServer(
                socket: socket, pool: pool, diskCount: disks.count, log: log, options: settings,
                disks: { _ in disks.removeFirst() })
            try server.announce()
            let end = try server.serve()
            server.log.line("end: " + text(end))
            switch end {
            case .injected(.hang): server.hang()
            case .injected(.panic): server.panicGuest()
            case .closed, .failed, .badStream: return
            }
        } catch {
            var last = StubLog(output: console(), sinceBoot: true)
            last.line(doing + ": " + error.description)
        }
    }

    /// In microseconds. With one CPU the poll would only take it from the driver that it waits for: measured under TCG, 128 KiB
    /// reads at depth 8 went from 5.2 to 9.3 thousand a second without it.
    private static func defaultPoll() -> Int {
        text("/sys/devices/system/cpu/online").isSame(as: "0") ? 0 : 50
    }

    private static func open(
        _ disk: FoundDisk, until deadline: UInt64, into disks: inout DiskQueue, log: inout StubLog
    ) {
        while true {
            do throws(SystemError) {
                let opened = try ServedDisk(
                    path: "/dev/" + disk.name, name: disk.name, serial: disk.serial,
                    queueAttributes: "/sys/block/" + disk.name + "/queue")
                let limits = opened.description.limits
                log.line(
                    "disk " + decimal(disks.count) + ": " + disk.name + ", " + decimal(Int(limits.size >> 20)) + " MiB, blocks of "
                        + decimal(Int(limits.logicalBlockSize)) + (limits.isReadOnly ? ", read-only" : "")
                        + (disk.drivers.isEmpty ? "" : "; driven by " + disk.drivers))
                if disks.count < VirtioMessageLimits.devices { disks.append(opened) }
                return
            } catch {
                // devtmpfs may be a moment behind sysfs.
                if error.code != ENOENT || Clock.monotonic() > deadline {
                    log.line("disk " + disk.name + " did not open: " + error.description)
                    return
                }
            }
            Clock.sleep(nanoseconds: 20_000_000)
        }
    }

    static func text(_ end: StubServer.End) -> String {
        switch end {
        case .closed: "the client stub closed the connection"
        case .failed(let code): SystemError(code: code, call: "recv").description
        case .badStream: "the messages of the client stub make no sense"
        case .injected(.hang): "told to hang"
        case .injected(.panic): "told to panic"
        }
    }

    private static func text(_ path: String) -> String {
        do throws(SystemError) { return try SmallFile.readText(path) } catch { return "" }
    }
}
