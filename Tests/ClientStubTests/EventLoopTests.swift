import CLinux
import LinuxSystem
import Testing

@testable import ClientStub

@Suite("Event loop")
struct EventLoopTests {
    @Test func aKernelThatTakesNoOperationsEndsTheLoopWithAnErrorAndNotTheProcess() throws {
        var loop = try EventLoop(entries: 4)
        // What has the ring's number now is no ring.
        let null = try OwnedDescriptor(path: "/dev/null", .readOnly)
        try #require(dup2(null.rawValue, loop.ringDescriptor) == loop.ringDescriptor)
        // The fifth finds the queue full, and cannot be submitted.
        for _ in 0..<5 { loop.poll(null.rawValue, events: Int16(POLLIN), EventTag(.driver, 1)) }
        #expect(throws: SystemError.self) { try loop.wait(until: loop.now + 1_000_000) }
        #expect(throws: SystemError.self, "and it stays ended") { try loop.submit() }
    }
}
