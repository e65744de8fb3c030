import Foundation
import Glibc
import Testing

extension Lab {
    /// QEMU's `edu` device does DMA wherever its registers say: the most hostile device there is. It is passed to a VM, through the same VFIO as
    /// a DD/OS's device, and the test stands in for the VM's processor, which stays stopped: QEMU's qtest protocol does each access for it.
    @Suite struct DMAIsolation {
        static let memory: UInt64 = 64 << 20
        static let base: UInt64 = 0xe000_0000
        /// The device's own buffer, in its address space (docs/specs/edu.txt of QEMU).
        static let buffer: UInt64 = 0x4_0000
        static let count: UInt64 = 1024

        @Test(.timeLimit(.minutes(5)))
        func aPassedThroughDeviceCannotReachMemoryOutsideItsVM() async throws {
            try Lab.enter()
            try await withRig("edu", []) { rig in
                try Self.bind()
                defer { Self.unbind() }
                let socket = rig.dataDirectory + "/qtest.sock"
                let machine = try rig.start(
                    "/usr/bin/qemu-system-x86_64",
                    [
                        "-machine", "q35,memory-backend=ram", "-accel", "kvm", "-S", "-m", "64M", "-nodefaults", "-no-user-config",
                        "-display", "none",
                        "-object", "memory-backend-memfd,id=ram,size=64M,share=on", "-qtest", "unix:\(socket),server=on,wait=off",
                        "-device", "vfio-pci,host=\(Lab.edu),bus=pcie.0,addr=0x10,rombar=0",
                    ])
                let cpu = try await eventually("QEMU answers", within: .seconds(60)) { () -> QTestProcessor? in
                    guard machine.isRunning else { throw Failure("QEMU ended: \(machine.errorSoFar)") }
                    return QTestProcessor(socket)
                }
                let edu = Edu(cpu: cpu)
                try edu.configure()
                #expect(try cpu.value("readl \(Self.base)") & 0xff == 0xed, "it is an edu device")

                // Its own VM's memory works as source and as target.
                try cpu.send("memset 0x100000 \(Self.count) 0xab")
                try await edu.copy(from: 0x10_0000, to: Self.buffer, .toDevice)
                try await edu.copy(from: Self.buffer, to: 0x20_0000, .fromDevice)
                #expect(try cpu.byte(0x20_0000) == 0xab)

                // A page of this process's: L1's memory.
                let page = try Canary(outside: Self.memory)
                try await edu.copy(from: Self.buffer, to: page.physical, .fromDevice)
                #expect(page.isIntact, "the device wrote to memory of the host's")
                try cpu.send("memset 0x200000 \(Self.count) 0x00")
                try await edu.copy(from: page.physical, to: Self.buffer, .toDevice)
                try await edu.copy(from: Self.buffer, to: 0x20_0000, .fromDevice)
                #expect(try cpu.byte(0x20_0000) != Canary.pattern, "the device read memory of the host's")

                let log = try await Lab.run(rig, "/usr/bin/dmesg")
                let short = Lab.edu.dropFirst(5)
                let faults = log.split(separator: "\n").filter { $0.contains("DMAR") && $0.contains(short) && $0.contains("fault addr") }
                for line in faults { say(String(line)) }
                let address = String(page.physical, radix: 16)
                #expect(faults.contains { $0.contains("DMA Write") && $0.contains(address) }, "\(log.suffix(2000))")
                #expect(faults.contains { $0.contains("DMA Read") && $0.contains(address) })

                // Still of use after all that.
                try cpu.send("memset 0x100000 \(Self.count) 0xcd")
                try await edu.copy(from: 0x10_0000, to: Self.buffer, .toDevice)
                try await edu.copy(from: Self.buffer, to: 0x30_0000, .fromDevice)
                #expect(try cpu.byte(0x30_0000) == 0xcd)
                machine.kill()
                _ = try await eventually("QEMU is gone", within: .seconds(20)) { machine.isRunning ? nil : true }
            }
        }

        /// As droverd does it; edu has no driver, and no class that a DD/OS could serve.
        private static func bind() throws {
            let device = "/sys/bus/pci/devices/\(Lab.edu)"
            try "vfio-pci".write(toFile: device + "/driver_override", atomically: false, encoding: .utf8)
            try load("vfio-pci")
            try Lab.edu.write(toFile: "/sys/bus/pci/drivers_probe", atomically: false, encoding: .utf8)
            guard Lab.driver(Lab.edu) == "vfio-pci" else { throw Failure("vfio-pci does not take \(Lab.edu)") }
        }

        private static func load(_ module: String) throws {
            let process = try Process.run(URL(filePath: "/sbin/modprobe"), arguments: [module])
            process.waitUntilExit()
        }

        private static func unbind() {
            try? Lab.edu.write(toFile: "/sys/bus/pci/drivers/vfio-pci/unbind", atomically: false, encoding: .utf8)
            try? "\n".write(toFile: "/sys/bus/pci/devices/\(Lab.edu)/driver_override", atomically: false, encoding: .utf8)
        }
    }
}

/// Registers of `edu`.
private struct Edu {
    enum Direction: UInt64 {
        case toDevice = 1
        case fromDevice = 3
    }

    let cpu: QTestProcessor

    /// Slot 0x10: its BAR's address, memory and bus master on.
    func configure() throws {
        try cpu.send("outl 0xcf8 0x80008010")
        try cpu.send("outl 0xcfc \(Lab.DMAIsolation.base)")
        try cpu.send("outl 0xcf8 0x80008004")
        try cpu.send("outw 0xcfc 0x6")
    }

    func copy(from source: UInt64, to target: UInt64, _ direction: Direction) async throws {
        let base = Lab.DMAIsolation.base
        try cpu.send("writeq \(base + 0x80) \(source)")
        try cpu.send("writeq \(base + 0x88) \(target)")
        try cpu.send("writeq \(base + 0x90) \(Lab.DMAIsolation.count)")
        try cpu.send("writeq \(base + 0x98) \(direction.rawValue)")
        _ = try await eventually("the device's DMA has ended", within: .seconds(20)) {
            try cpu.value("readq \(base + 0x98)") & 1 == 0 ? true : nil
        }
    }
}

/// QEMU's qtest protocol: a line out, `OK` and perhaps a value back.
private final class QTestProcessor {
    private let descriptor: Int32

    /// Nil: nobody listens yet.
    init?(_ path: String) {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if status != 0 {
            close(descriptor)
            return nil
        }
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    @discardableResult
    func send(_ line: String) throws -> String {
        let bytes = Array((line + "\n").utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count else { throw Failure("QEMU is gone") }
        var answer: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            guard read(descriptor, &byte, 1) == 1 else { throw Failure("'\(line)': QEMU does not answer") }
            if byte == UInt8(ascii: "\n") { break }
            answer.append(byte)
        }
        let text = String(decoding: answer, as: UTF8.self)
        guard text.hasPrefix("OK") else { throw Failure("'\(line)': QEMU answers '\(text)'") }
        return text
    }

    func value(_ line: String) throws -> UInt64 {
        let text = try send(line)
        guard let word = text.split(separator: " ").last, word.hasPrefix("0x"), let value = UInt64(word.dropFirst(2), radix: 16) else {
            throw Failure("'\(line)': no value in '\(text)'")
        }
        return value
    }

    /// Of the VM's memory.
    func byte(_ address: UInt64) throws -> UInt8 { UInt8(truncatingIfNeeded: try value("readb \(address)")) }
}

/// A page of this process, and where it is in the machine's memory.
private final class Canary {
    static let pattern: UInt8 = 0x5c
    let physical: UInt64
    private let page: UnsafeMutableRawPointer
    private static let size = 4096

    /// - Parameter limit: Addresses below it mean the VM's own memory to its device.
    init(outside limit: UInt64) throws {
        guard let memory = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), memory != MAP_FAILED else {
            throw Failure("no memory")
        }
        page = memory
        mlock(page, Self.size)
        memset(page, Int32(Self.pattern), Self.size)
        // pagemap: 8 bytes a page; bits 0 to 54 are the frame's number (Documentation/admin-guide/mm/pagemap.rst).
        let file = open("/proc/self/pagemap", O_RDONLY)
        defer { close(file) }
        var entry: UInt64 = 0
        guard pread(file, &entry, 8, off_t(UInt(bitPattern: page)) / 4096 * 8) == 8, entry >> 63 == 1 else {
            throw Failure("pagemap does not tell where a page is")
        }
        physical = (entry & (1 << 55 - 1)) * 4096
        guard physical >= limit, !(0xb000_0000..<0x1_0000_0000).contains(physical) else {
            throw Failure("the page is at 0x\(String(physical, radix: 16)), which means something to the VM")
        }
    }

    deinit { munmap(page, Self.size) }

    var isIntact: Bool {
        UnsafeRawBufferPointer(start: page, count: Self.size).allSatisfy { $0 == Self.pattern }
    }
}
