import ControlModel
import Foundation
import Glibc
import Testing

@testable import Accounting

@Suite("Accounting")
struct AccountingTests {
    @Test func aProcessNamedLikeAStatLineIsReadRight() throws {
        let text = "42 (a) S 1 (b) c) R 1 2 3 4 5 6 7 8 9 10 111 222 13 14 15 16 17 18 98765 20"
        let stat = try #require(ProcFile.stat(parsing: text))
        #expect(stat == ProcFile.Stat(command: "a) S 1 (b) c", state: "R", cpuTicks: 333, startTime: 98765))
        for bad in ["", "1", "1 (x", "1 (x) R", "1 )x( R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"] {
            #expect(ProcFile.stat(parsing: bad) == nil)
        }
    }

    @Test func vCPUThreadsAreToldApartAndEndedThreadsCounted() throws {
        let root = NSTemporaryDirectory() + "drover-proc-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        func stat(_ name: String, _ ticks: Int) -> String { "7 (\(name)) S 1 2 3 4 5 6 7 8 9 10 \(ticks) 0 13 14 15 16 17 18 555 20" }
        for (thread, name, ticks, nanoseconds) in [(7, "qemu", 10, 100_000_000), (8, "CPU 0/TCG", 200, 2_005_000_000)] {
            let folder = "\(root)/7/task/\(thread)"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try stat(name, ticks).write(toFile: folder + "/stat", atomically: false, encoding: .utf8)
            try "\(nanoseconds) 1 2".write(toFile: folder + "/schedstat", atomically: false, encoding: .utf8)
        }
        try stat("qemu", 310).write(toFile: root + "/7/stat", atomically: false, encoding: .utf8)
        let times = try #require(ProcessTimes(of: ProcessIdentity(pid: 7, startTime: 555), root: root))
        #expect(abs(times.vcpu - 2.005) < 1e-9)
        #expect(abs(times.other - (0.1 + 1.0)) < 1e-9)
        #expect(ProcessTimes(of: ProcessIdentity(pid: 7, startTime: 556), root: root) == nil)
    }

    @Test func aNumberGivenToAnotherProcessIsNotTheOldOne() throws {
        let own = try #require(ProcessIdentity(pid: getpid()))
        #expect(own.isRunning)
        #expect(!ProcessIdentity(pid: own.pid, startTime: own.startTime + 1).isRunning)
        #expect(ProcessIdentity(pid: 0) == nil)
    }

    @Test func aZombiesTimeIsKeptInProportion() {
        var meter = Meter()
        meter.take(ProcessTimes(vcpu: 3, other: 1))
        // A zombie: all of it is in `other`.
        meter.take(ProcessTimes(vcpu: 0, other: 8))
        #expect(meter.total == ProcessTimes(vcpu: 6, other: 2))
    }

    @Test func endedProcessesStayCounted() throws {
        var meter = Meter()
        meter.begin(try #require(ProcessIdentity(pid: getpid())))
        meter.sample()
        let first = meter.total.total
        meter.end()
        meter.begin(try #require(ProcessIdentity(pid: getpid())))
        meter.sample()
        // Threads that ended meanwhile are counted by the kernel in ticks of 10 ms, no longer in nanoseconds.
        #expect(meter.total.total >= 1.5 * first)
    }

    @Test func aReportIsTheDifferenceOfTwoReadings() throws {
        func reading(_ time: Double, _ vcpu: Double, _ requests: UInt64) -> Reading {
            let ddos = DDOSReading(
                name: "a", phase: .ready, vmm: ProcessTimes(vcpu: vcpu, other: vcpu / 2), stub: ProcessTimes(other: vcpu / 4),
                requests: requests,
                vmmMemory: ProcessMemory(own: 10, shared: 20), stubMemory: ProcessMemory(own: 5, shared: 20))
            return Reading(time: time, ddos: [ddos], supervisor: ProcessTimes(other: time / 100), supervisorMemory: ProcessMemory(own: 1))
        }
        let report = CPUReport(
            from: reading(100, 1, 1000), to: reading(110, 3, 3000), processors: 2, supervisor: 1, uptime: 50, at: Date())
        let row = try #require(report.ddos.first)
        #expect(report.intervalSeconds == 10)
        #expect(
            row.cpu
                == CPUUsage(vcpuSeconds: 2, vmmSeconds: 1, stubSeconds: 0.5, totalSeconds: 3.5, shareOfOneCPU: 0.35, shareOfMachine: 0.175))
        #expect(row.requests == 2000)
        #expect(row.cpuMicrosecondsPerRequest == 1750)
        #expect((row.guestBytes, row.vmmBytes, row.stubBytes) == (20, 10, 5))
        #expect(report.mean == row.cpu)
        #expect(abs(report.supervisor.cpuSeconds - 0.1) < 1e-9)
        #expect(abs(report.total.totalSeconds - 3.6) < 1e-9)
    }

    @Test func countersOlderThanTheSupervisorAreSharedOutOverTheirOwnTime() throws {
        let ddos = DDOSReading(name: "a", phase: .ready, vmm: ProcessTimes(vcpu: 50), ageSeconds: 100)
        let reading = Reading(time: 1000, ddos: [ddos], supervisor: ProcessTimes(other: 1), supervisorMemory: .init())
        let report = CPUReport(from: nil, to: reading, processors: 2, supervisor: 1, uptime: 10, at: Date())
        #expect(report.intervalSeconds == 100)
        #expect(report.ddos[0].cpu.shareOfOneCPU == 0.5)
        #expect(report.supervisor.shareOfOneCPU == 0.1)
    }

    @Test func aReportWithoutDDOSsHasNoMean() {
        let reading = Reading(time: 1, ddos: [], supervisor: .init(), supervisorMemory: .init())
        #expect(CPUReport(from: reading, to: reading, processors: 0, supervisor: 1, uptime: 0, at: Date()).mean == nil)
    }
}
