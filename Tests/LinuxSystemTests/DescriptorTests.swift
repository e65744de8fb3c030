import CLinux
import LinuxSystem
import Testing

@Suite(.serialized) struct DescriptorTests {
    @Test func descriptorIsClosedWithItsOwnerAndNotBefore() throws {
        let witness = try Witness()
        let number = witness.far
        var copy: Int32 = -1
        do {
            let borrowed = OwnedDescriptor(adopting: dup(number))
            copy = try borrowed.duplicate().release()
        }
        let watching = witness.closingFar()
        #expect(try !everyCopyIsClosed(watching), "released: nobody may have closed it")
        do { _ = OwnedDescriptor(adopting: copy) }
        #expect(try everyCopyIsClosed(watching))
    }

    @Test func errorSaysWhichCallAndWhy() {
        do throws(SystemError) {
            _ = try OwnedDescriptor(path: "/no/such/file", .readOnly)
            Issue.record("opened")
        } catch {
            #expect(error.code == ENOENT)
            #expect(error.description == "open: No such file or directory")
        }
    }

    @Test func bytesWrittenAreRead() throws {
        let scratch = try ScratchDirectory()
        let file = try OwnedDescriptor(path: scratch.file("a"), [.readWrite, .create, .exclusive])
        try file.writeAll(Array("hello, disk".utf8))
        let status = try file.status()
        #expect(status.size == 11 && status.isRegularFile)
        var bytes = [UInt8](repeating: 0, count: 16)
        let came = try bytes.withUnsafeMutableBytes { buffer throws(SystemError) in try file.read(into: buffer, at: 7) }
        #expect(came == 4 && bytes.starts(with: Array("disk".utf8)))
        #expect(try SmallFile.readText(scratch.file("a")) == "hello, disk")
        #expect(try Directory.entries(scratch.path) == ["a"])
        try Directory.create(scratch.file("b"))
        try Directory.create(scratch.file("b"))
        try Directory.removeFile(scratch.file("a"))
        try Directory.removeFile(scratch.file("a"))
        #expect(try Directory.entries(scratch.path) == ["b"])
        #expect(try FileStatus(path: scratch.file("b")).isDirectory)
    }

    @Test func filesOfProcAreReadWhole() throws {
        #expect(try SmallFile.readText("/proc/self/stat").hasPrefix("\(ProcessControl.identifier) "))
        let maps = try SmallFile.read("/proc/self/maps")
        #expect(maps.count > 4096 && maps.last == 10)
        #expect(throws: SystemError(code: EFBIG, call: "read")) { try SmallFile.read("/proc/self/maps", limit: 10) }
    }

    @Test func blockDeviceLimitsRefuseAFile() throws {
        let file = try OwnedDescriptor(path: "/dev/null", .readWrite)
        do throws(SystemError) {
            _ = try file.blockDeviceLimits()
            Issue.record("null is a disk")
        } catch { #expect(error.code == ENOTTY) }
    }

    @Test func eventCounterRingsOnceUntilDrained() throws {
        let bell = try EventCounter()
        #expect(bell.drain() == 0)
        bell.signal()
        EventCounter.signal(bell.descriptor.rawValue)
        let rung = bell.drain()
        #expect(rung == 2)
        #expect(bell.drain() == 0)
    }

    @Test func clocksGoForward() {
        let before = Clock.monotonic()
        Clock.sleep(nanoseconds: 1_000_000)
        #expect(Clock.monotonic() >= before + 1_000_000)
        #expect(Clock.wall() > 1_700_000_000_000_000_000)
        #expect(Clock.processCPU() > 0)
    }

    @Test func childIsReapedByItsPidfdOnly() throws {
        for (script, end) in [("exit 3", ProcessEnd.exited(status: 3)), ("kill -9 $$", .signalled(9))] {
            let child = try spawn(script)
            let handle = try OwnedDescriptor(process: child)
            let found = try ProcessControl.reap(handle, blocking: true)
            #expect(found == end)
            do throws(SystemError) {
                _ = try ProcessControl.reap(handle, blocking: true)
                Issue.record("reaped twice")
            } catch { #expect(error.code == ECHILD) }
            do throws(SystemError) {
                try ProcessControl.signal(handle, SIGKILL)
                Issue.record("signalled the dead")
            } catch { #expect(error.code == ESRCH) }
        }
    }

    @Test func runningChildIsNotReaped() throws {
        let child = try spawn("exec sleep 60")
        let handle = try OwnedDescriptor(process: child)
        let running = try ProcessControl.reap(handle, blocking: false)
        #expect(running == nil)
        try ProcessControl.signal(handle, SIGKILL)
        let end = try ProcessControl.reap(handle, blocking: true)
        #expect(end == .signalled(SIGKILL))
    }
}
