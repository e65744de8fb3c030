internal import CLinux
public import LinuxSystem

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
    static func waitForDisks(_ discovery: DiskDiscovery, until deadline: UInt64) -> [FoundDisk] {
        var before: [FoundDisk] = []
        while true {
            let now = discovery.scan()
            if !now.isEmpty, now == before { return now }
            // The second look is for controllers with several disks: the kernel adds them one by one.
            let pause: UInt64 = now.isEmpty ? 20_000_000 : 100_000_000
            if Clock.monotonic() + pause > deadline { return now }
            before = now
            Clock.sleep(nanoseconds: pause)
        }
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
        let failures = mountFileSystems()
        var log = StubLog(output: console(), sinceBoot: true)
        for failure in failures { log.line(failure) }
        let options = KernelCommandLine(text("/proc/cmdline"))
        let modules = ModuleList(text("/etc/drover/modules"))
        let loaded = modules.load(log: &log)
        log.line("modules: " + decimal(loaded) + " of " + decimal(modules.entries.count))
        let deadline = Clock.monotonic() + UInt64(options.waitSeconds) * 1_000_000_000
        let disks = waitForDisks(DiskDiscovery(device: options.device), until: deadline)
        for disk in disks { log.line("disk: " + disk.name + " " + disk.serial) }
        if disks.isEmpty { log.line("no disk appeared below " + options.device) }
        do throws(SystemError) {
            _ = try connect(port: options.port, until: deadline)
        } catch {
            log.line("no connection to the client stub: " + error.description)
        }
        die()
    }

    private static func text(_ path: String) -> String {
        do throws(SystemError) { return try SmallFile.readText(path) } catch { return "" }
    }
}
