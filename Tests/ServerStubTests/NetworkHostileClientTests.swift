import CLinux
import Foundation
import LinuxSystem
import Netlink
import ServerStub
import Testing
import VirtioMessage
import VirtioNet

@Suite struct NetworkHostileClientTests {
    @Test func malformedCommandsAreRefusedAndTheServiceGoesOn() throws {
        let lab = try NetworkFixture()
        for bytes: [UInt8] in [[0xD0, 1, 0], [99, 0], [0, 0, 7], [1, 0, 255, 255, 255, 255], [0xD0, 77, 1, 2, 3]] {
            let (message, answer) = try lab.ask { outbox throws(MessageError) in try outbox.netControl(device: 0, command: bytes.span) }
            guard case .netControl(0, let place) = message else { throw NetworkFixture.Failure.unexpected(message) }
            let decoded = try NetControlAnswer(untrusted: Array(answer[place.offset..<place.offset + place.count]).span)
            #expect(decoded == .refused(code: UInt32(EINVAL), reason: "the command makes no sense"))
        }
        #expect(try lab.describe().interface == "nic")
    }

    @Test func messagesOfNoSenseAreSkippedAndALostFramingEndsTheService() throws {
        let lab = try NetworkFixture()
        // An unknown bus message, a queue, a doorbell, a device that is not there.
        _ = try lab.client.send([2, 0x7F, 0, 0, 1, 0, 8, 0])
        try lab.outbox.eventAvail(device: 0, queue: 3)
        try lab.outbox.eventAvail(device: 9, queue: 0)
        try lab.flush()
        #expect(try lab.ask { outbox throws(MessageError) in try outbox.ping(1) }.message == .pong(1))
        _ = try lab.client.send([2, 3, 0, 0, 0, 0, 3, 0])
        #expect(lab.end() == .success(.badStream))
    }

    /// Answers that nobody reads fill the outbox; then nothing more is taken, and all is answered once they are read.
    @Test func aClientThatDoesNotReadIsNotAnsweredAndLosesNothing() throws {
        let lab = try NetworkFixture()
        let flag = fcntl(lab.client.rawValue, F_GETFL)
        _ = fcntl(lab.client.rawValue, F_SETFL, flag | O_NONBLOCK)
        var sent = 0
        var quiet = 0
        var outbox = MessageOutbox()
        let deadline = Date(timeIntervalSinceNow: 60)
        // Until the socket has been full for a while: the server has stopped reading.
        while quiet < 20, sent < 100_000, Date() < deadline {
            if outbox.isEmpty {
                _ = try outbox.ping(UInt32(sent))
                sent += 1
            }
            do {
                outbox.sent(try lab.client.send(outbox.pending))
                quiet = 0
            } catch {
                quiet += 1
                usleep(10_000)
            }
        }
        #expect(quiet == 20, "the server reads on without being read")
        _ = fcntl(lab.client.rawValue, F_SETFL, flag)
        for expected in 0..<(outbox.isEmpty ? sent : sent - 1) {
            #expect(try lab.nextAnswer().message == .pong(UInt32(expected)))
        }
    }
}
