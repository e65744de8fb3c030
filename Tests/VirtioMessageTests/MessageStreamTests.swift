import Testing
import VirtioMessage

@Suite struct MessageStreamTests {
    /// However the stream is cut, the same messages come out.
    @Test(arguments: [1, 2, 3, 7, 8, 9, 11, 64, 4096])
    func messagesComeWholeHoweverTheStreamIsCut(piece: Int) throws {
        var stream: [UInt8] = []
        for _ in 0..<200 { for (bytes, _) in driverMessages { stream += bytes } }
        var inbox = MessageInbox(capacity: 8192)
        var found = 0
        var rest = stream[...]
        while !rest.isEmpty {
            let part = Array(rest.prefix(piece))
            rest = rest.dropFirst(inbox.fill(from: part.span))
            while let header = try inbox.next() {
                #expect(try DriverMessage(untrusted: header, inbox.message) == driverMessages[found % driverMessages.count].message)
                found += 1
            }
            #expect(!inbox.unfilled.isEmpty)
        }
        #expect(found == 200 * driverMessages.count)
    }

    @Test func theLargestMessageFitsAnInboxOfTheSmallestSize() throws {
        var inbox = MessageInbox(capacity: 4096)
        var message = [UInt8](repeating: 0, count: 4096)
        message[6] = 0
        message[7] = 16
        for _ in 0..<3 {
            #expect(inbox.fill(from: message.span) == 4096)
            #expect(try inbox.next()?.size == 4096)
            #expect(try inbox.next() == nil)
        }
    }

    @Test func aStreamThatLostItsFramingStaysLost() throws {
        var inbox = MessageInbox()
        _ = inbox.fill(from: [0, 2, 0, 0, 1, 0, 3, 0].span)
        #expect(throws: MessageError.headerSize(3)) { try inbox.next() }
        #expect(throws: MessageError.headerSize(3)) { try inbox.next() }
    }

    @Test func anOutboxIsFullBeforeItIsBroken() throws {
        var outbox = MessageOutbox(capacity: 4096)
        var messages = 0
        while true {
            do throws(MessageError) { try outbox.eventUsed(device: 0, queue: 0) } catch {
                #expect(error == .noSpace)
                break
            }
            messages += 1
        }
        #expect(messages == 4096 / 12)
        outbox.sent(4000)
        #expect(outbox.pending.count == messages * 12 - 4000)
        try outbox.eventUsed(device: 0, queue: 1)
        outbox.sent(outbox.pending.count)
        #expect(outbox.isEmpty && outbox.freeBytes == 4096)
    }

    @Test func tokensAreNeverZeroAndDoNotRepeatSoon() {
        var outbox = MessageOutbox()
        var seen: Set<UInt16> = []
        for _ in 0..<65535 {
            let token = outbox.nextToken()
            #expect(token != 0)
            #expect(seen.insert(token).inserted)
        }
        #expect(outbox.nextToken() == 1)
    }
}

@Suite struct AdaptivePollTests {
    @Test func anIdleSideDoesNotPoll() {
        var poll = AdaptivePoll(cap: 50_000)
        for _ in 0..<100 {
            #expect(poll.budget == 0)
            poll.slept(for: 500_000_000)
        }
    }

    @Test func shortSleepsStartPollingAndFindingWorkKeepsItUp() {
        var poll = AdaptivePoll(cap: 50_000)
        poll.slept(for: 90_000)
        #expect(poll.budget == 50_000)
        for _ in 0..<100 {
            for _ in 0..<3 { poll.slept(for: 90_000) }
            poll.pollFoundWork()
            #expect(poll.budget == 50_000)
        }
        poll.slept(for: 1_000_000_000)
        #expect(poll.budget == 0)
    }

    @Test func trialsThatFailBecomeRare() {
        var poll = AdaptivePoll(cap: 50_000)
        var looks = 0
        for _ in 0..<100_000 {
            if poll.budget > 0 { looks += 1 }
            poll.slept(for: 60_000)
        }
        #expect(looks > 10 && looks < 200)
    }

    @Test func aCapOfZeroNeverPolls() {
        var poll = AdaptivePoll(cap: 0)
        for _ in 0..<10 {
            poll.slept(for: 0)
            poll.pollFoundWork()
        }
        #expect(poll.budget == 0)
    }
}
