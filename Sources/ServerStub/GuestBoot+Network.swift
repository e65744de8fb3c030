internal import CLinux
internal import LinuxSystem
internal import Netlink
internal import VirtioMessage
internal import VirtioNet

extension GuestBoot {
    /// A network DD/OS, from finding its two interfaces to the end of the connection; what went wrong is on the console.
    static func serveNetwork(_ options: KernelCommandLine, _ clock: BootClock, log: consuming StubLog) {
        var clock = clock
        let deadline = Clock.monotonic() + UInt64(options.waitSeconds) * 1_000_000_000
        let path = setUpPath(options, until: deadline, log: &log)
        clock.devicesFound()
        let socket: OwnedDescriptor
        do throws(SystemError) {
            // Without a NIC too: the log says why, and the log goes to the client stub.
            socket = try connect(port: options.port, until: deadline)
        } catch {
            log.line("connection to the client stub: " + error.description)
            return
        }
        clock.connected()
        log.line(clock.text)
        do throws(NetlinkError) {
            var server = try NetworkServer(socket: socket, path: path, log: log)
            try server.announce()
            let end = server.serve()
            server.log.line("end: " + text(end))
            switch end {
            case .injected(.hang): server.hang()
            case .injected(.panic): server.panicGuest()
            case .closed, .failed, .badStream: return
            }
        } catch {
            var last = StubLog(output: console(), sinceBoot: true)
            last.line("serving: " + error.description)
        }
    }

    /// Finds NIC and channel, and lets packets pass between them. Nil: there is no way, and the log says why.
    private static func setUpPath(_ options: KernelCommandLine, until deadline: UInt64, log: inout StubLog) -> NetworkPath? {
        // The channel is virtio's, whose driver has been loaded: it is there or it never comes.
        guard let channel = InterfaceDiscovery(device: options.channel).wait(until: deadline).first else {
            log.line("no virtio-net interface appeared at " + options.channel)
            return nil
        }
        let found = InterfaceDiscovery(device: options.device).wait(until: deadline)
        guard let nic = found.first else {
            log.line("no network interface appeared below " + options.device)
            return nil
        }
        for other in found.dropFirst() { log.line(other + " is left out: a DD/OS offers one interface") }
        do throws(NetlinkError) {
            var path = try NetworkPath(nic: nic, channel: channel)
            try path.setUp(log: &log)
            let description = try path.describe()
            log.line(
                "NIC " + nic + ": driver " + description.driver + ", " + MACAddress(value: description.mac).description + ", MTU "
                    + decimal(Int(description.mtu)) + " of " + decimal(Int(description.smallestMTU)) + " to "
                    + decimal(Int(description.largestMTU)) + ", forwarding to " + channel)
            return path
        } catch {
            log.line(nic + " and " + channel + " do not forward: " + error.description)
            return nil
        }
    }
}
