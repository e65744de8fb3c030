import CLibvirt
import Foundation

extension Hypervisor {
    /// Lets a guest whose kernel panicked print why. Returns when it has, at the latest after `limit`.
    ///
    /// pvpanic tells of a panic before the kernel has emptied its log onto the console (`panic()` in kernel/panic.c: notifiers first, then
    /// `console_flush_on_panic`), and QEMU stops the vCPUs when told. What was printed in an interrupt that cannot be masked, the reason of the
    /// panic among it, is in the guest's memory only. So the vCPUs run on for a moment. The machine is still there after this: it has to be
    /// destroyed whether this helped or not.
    public func finishPanic(_ name: String, consoleLog: String, limit: Duration) async {
        let connection = connection
        // Two of the calls wait for the VMM's monitor, and a VMM can be stuck.
        _ = try? await calls.run(within: limit + Self.monitorLimit) { () throws(HypervisorError) in
            let end = ContinuousClock.now + limit
            try connection.withDomain(name, "resume") { domain throws(HypervisorError) in
                // The panic is heard of before QEMU has stopped and before libvirt knows.
                while !Self.hasCrashed(domain) {
                    guard ContinuousClock.now < end else { return }
                    usleep(2000)
                }
                let size = ConsoleLog.size(consoleLog)
                guard virDomainResume(domain) == 0 else { return }
                while !ConsoleLog.contains("---[ end Kernel panic", path: consoleLog, from: size), ContinuousClock.now < end {
                    usleep(5000)
                }
            }
        }
    }

    private static func hasCrashed(_ domain: OpaquePointer) -> Bool {
        var state: Int32 = 0
        var reason: Int32 = 0
        guard virDomainGetState(domain, &state, &reason, 0) == 0 else { return false }
        return state == Int32(bitPattern: VIR_DOMAIN_CRASHED.rawValue)
    }
}
