import CLinux
import ClientStub
import Foundation
import LinuxSystem
import StubControl
import Testing
import VirtioNet

@testable import NetworkStub

/// The whole stub on a thread of its own, with a real TAP: needs root.
@Suite(.serialized) struct DriverTests {
    @Test func whatIsSentBeforeTheDDOSIsThereArrivesWhenItIs() throws {
        try Wire.withStub { wire, path in
            let header = [UInt8](repeating: 0, count: 12)
            for number in 0..<20 { try wire.send(header + Wire.frame(UInt32(number), bytes: 200, toGuest: true)) }
            let guest = try GuestDriver(peer: UnixSocket.connect(path: path))
            try guest.offer()
            try guest.setUp([.mergeableBuffers])
            var numbers: [UInt8] = []
            let deadline = Clock.monotonic() + 20_000_000_000
            while numbers.count < 40, Clock.monotonic() < deadline {
                guard let packet = try guest.receive() else {
                    usleep(1000)
                    continue
                }
                guard packet.count >= 30, packet[24] == Wire.type[0], packet[25] == Wire.type[1] else { continue }
                numbers.append(packet[29])
                // The next one finds the stub asleep.
                if numbers.count >= 20, numbers.count < 40 {
                    try wire.send(header + Wire.frame(UInt32(numbers.count), bytes: 200, toGuest: true))
                }
            }
            #expect(numbers == Array(0..<40))
        }
    }
}

/// Supervisors that say nothing but, once, that it is over.
private struct StopPort: SupervisorPort, ~Copyable {
    let bell: EventCounter
    private var isOver = false

    init(_ bell: consuming EventCounter) { self.bell = bell }

    mutating func start(loop: inout EventLoop) { loop.poll(bell.descriptor.rawValue, events: Int16(POLLIN), EventTag(.control, 1)) }
    mutating func operationCompleted(_ value: UInt64, result: Int32, flags: UInt32, loop: inout EventLoop) { isOver = true }
    mutating func nextCommand() -> (ticket: UInt64, command: StubCommand.Action)? {
        defer { isOver = false }
        return isOver ? (0, .shutdown) : nil
    }
    mutating func answer(_ ticket: UInt64, _ answer: StubReply, loop: inout EventLoop) {}
    mutating func announce(_ event: StubEvent, loop: inout EventLoop) {}
    mutating func close(loop: inout EventLoop) {}
}

extension Wire {
    /// With a stub at the near end that serves packets alone; its socket's path is given to `body`.
    fileprivate static func withStub(_ body: (Wire, String) throws -> Void) throws {
        try Wire.withTaps { name in
            let path = "/tmp/\(name).sock"
            let bell = try EventCounter()
            let descriptor = dup(bell.descriptor.rawValue)
            let (started, ended) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
            Thread.detachNewThread {
                defer { ended.signal() }
                do {
                    let port = StopPort(EventCounter(adopting: OwnedDescriptor(adopting: descriptor)))
                    var configuration = NetworkConfiguration()
                    configuration.beginsWithCarrier = true
                    var driver = try NetworkDriver(
                        configuration: configuration, source: .packetsOnly(network: path), pollLimit: 0,
                        tap: Tap(name: "near0", namespace: "/run/netns/\(name)"), port: port)
                    started.signal()
                    try driver.run()
                } catch {
                    Issue.record("\(error)")
                    started.signal()
                }
            }
            defer {
                bell.signal()
                #expect(ended.wait(timeout: .now() + 10) == .success)
            }
            #expect(started.wait(timeout: .now() + 10) == .success)
            try body(Wire(name), path)
        }
    }
}
