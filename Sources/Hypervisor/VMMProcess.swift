import CLinux
import Foundation
import LinuxSystem

/// One QEMU process, held by a pidfd: it cannot be confused with a later process of the same number.
final class VMMProcess: Sendable {
    let pid: Int32
    /// The life that it executes, lower case.
    let uuid: String
    private let descriptor: OwnedDescriptor

    /// nil when the process is gone, or is not this machine's VMM.
    init?(pid: Int32, uuid: String) {
        guard let descriptor = try? OwnedDescriptor(process: pid) else { return nil }
        // Looked at after the pidfd was opened: what the number means now is what the pidfd holds.
        guard Self.arguments(of: pid).contains(where: { $0 == uuid }) else { return nil }
        self.pid = pid
        self.uuid = uuid
        self.descriptor = descriptor
    }

    /// The VMM that has `-uuid UUID` on its command line.
    static func find(uuid: String) -> VMMProcess? {
        for pid in allProcesses() where isEmulator(arguments(of: pid), containing: { $0 == uuid }) {
            if let found = VMMProcess(pid: pid, uuid: uuid) { return found }
        }
        return nil
    }

    /// Every VMM of this name that lives in this root, also one that libvirt lost.
    static func find(name: String, root: String) -> [VMMProcess] {
        var found: [VMMProcess] = []
        for pid in allProcesses() {
            let arguments = arguments(of: pid)
            guard isEmulator(arguments, containing: { $0.hasPrefix("guest=\(name),") }),
                arguments.contains(where: { $0.contains(root + "/lib/") }),
                let flag = arguments.firstIndex(of: "-uuid"), flag + 1 < arguments.count,
                let process = VMMProcess(pid: pid, uuid: arguments[flag + 1])
            else { continue }
            found.append(process)
        }
        return found
    }

    func kill() {
        // ESRCH, "it is gone", is what was wanted.
        try? ProcessControl.signal(descriptor, SIGKILL)
    }

    /// The process has ended: all its threads are gone, its files and memory are released. It may not be reaped yet.
    private func hasEnded(within milliseconds: Int32) -> Bool {
        var waiting = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, milliseconds) > 0
    }

    /// Reaps the process as soon as it ends, from a thread that waits for nothing else.
    ///
    /// libvirt tells nobody of a VMM's death before its process id is free. It hears of the death by the end of the monitor connection, which the
    /// kernel closes while the process is still dying; a process id that is taken then it looks at again after 0.2 s, in which nothing can
    /// be started. So the VMM's end of that connection stays open here until the process id is free.
    func reapWhenItEnds() {
        let thread = Thread { [self] in
            let monitor = monitorConnection()
            while !hasEnded(within: -1) {}
            reap()
            _ = consume monitor
        }
        thread.name = "reaper"
        thread.stackSize = 256 << 10
        thread.start()
    }

    /// A descriptor of this process's own for the VMM's end of the connection that libvirt, in this process, has to its monitor. nil: there
    /// is none, or to ask is not permitted (it takes what ptrace(2) takes).
    func monitorConnection() -> OwnedDescriptor? {
        for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? [] {
            guard let number = Int32(entry),
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/fd/\(entry)"))?.hasPrefix("socket:") == true,
                let socket = try? ProcessControl.duplicate(number, of: descriptor)
            else { continue }
            if !socket.isListening, (try? socket.peerProcess()) == ProcessControl.identifier { return socket }
        }
        return nil
    }

    /// ECHILD, "not this process's child, or reaped by an earlier call", is no failure: PID 1 reaps it.
    private func reap() { _ = try? ProcessControl.reap(descriptor, blocking: false) }

    /// Waits until the process is gone *and* reaped. As the process's parent (a child subreaper) this is who reaps it, and only it; otherwise
    /// PID 1 does, and this waits for that. False: the deadline passed.
    func waitUntilReaped(deadline: ContinuousClock.Instant) -> Bool {
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            if hasEnded(within: left <= .zero ? 0 : Int32(clamping: Int64(left.inSeconds * 1000) + 1)) { break }
            if left <= .zero { return false }
        }
        reap()
        while (try? ProcessControl.signal(descriptor, 0)) != nil {
            if ContinuousClock.now >= deadline { return false }
            usleep(2000)
        }
        return true
    }
}

// MARK: /proc

extension VMMProcess {
    private static func isEmulator(_ arguments: [String], containing matches: (String) -> Bool) -> Bool {
        guard let program = arguments.first, program.contains("qemu") else { return false }
        return arguments.contains(where: matches)
    }

    private static func allProcesses() -> [Int32] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
    }

    private static func arguments(of pid: Int32) -> [String] {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return [] }
        return data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Runs a libvirt call that starts QEMUs, and reaps those that end meanwhile.
    ///
    /// libvirt daemonizes QEMU, also where it only asks what that QEMU can do. Under a child subreaper they become this process's zombies, and
    /// libvirt waits long for a process id that nobody frees. That of a child that failed before it became QEMU is among them.
    static func reapingEmulators<Value>(
        during body: () throws(HypervisorError) -> Value
    ) throws(HypervisorError) -> Value {
        let done = Flag()
        let thread = Thread {
            while !done.isSet {
                usleep(20000)
                // Looking through /proc takes a processor that the machine under way could use.
                if ProcessControl.hasEndedChild { reapZombies() }
            }
        }
        thread.stackSize = 256 << 10
        thread.start()
        defer { done.set() }
        return try body()
    }

    /// Whether somebody ran it with setsid(2) and a second fork(2), and left it to whom orphans are left to. A child that this process started
    /// itself, and will wait for, is in this process's session or leads one of its own; so does libvirt's child in the middle, which never
    /// becomes another program. A QEMU that leads a session is the middle one of those that made a daemon of themselves, as libvirt
    /// has it done to ask what QEMU can do; the first of them is in this process's session, and libvirt waits for it.
    private static func isOrphan(_ status: ProcessStatus, _ pid: Int32) -> Bool {
        if status.session == pid { return status.name.hasPrefix("qemu-system") }
        return status.session != getsid(0)
    }

    private static func reapZombies() {
        let own = getpid()
        for pid in allProcesses() {
            guard let status = ProcessStatus(pid: pid), status.state == "Z", status.parent == own, isOrphan(status, pid),
                let descriptor = try? OwnedDescriptor(process: pid)
            else { continue }
            _ = try? ProcessControl.reap(descriptor, blocking: false)
        }
    }
}
