import Testing

@testable import NetworkStub

@Suite struct TapTests {
    @Test func errorsSayWhatToDo() throws {
        try Wire.with { wire, _ in
            #expect(throws: TapError.busy(name: "near0")) { _ = try Tap(name: "near0", namespace: "/run/netns/\(wire.name)") }
            #expect(throws: TapError.otherKind(name: "bridge", queues: 1)) {
                _ = try Tap(name: "bridge", namespace: "/run/netns/\(wire.name)")
            }
        }
        try Wire.with { wire, _ in
            let words = "there is no TAP none0 that stays by itself: make it (ip tuntap add none0 mode tap vnet_hdr), or let droverd do it"
            #expect(TapError.missing(name: "none0").description == words)
            for queues in [1, 2] {
                #expect(throws: TapError.missing(name: "none0")) {
                    _ = try Tap(name: "none0", namespace: "/run/netns/\(wire.name)", queues: queues)
                }
                #expect(throws: (any Error).self) { try Wire.command("ip", "-n", wire.name, "link", "show", "none0") }
            }
        }
        do {
            _ = try Tap(name: "x", namespace: "/run/netns/drover-test-none")
            Issue.record("a namespace that does not exist was entered")
        } catch {
            #expect(error.description == "the network namespace /run/netns/drover-test-none cannot be entered: No such file or directory")
        }
    }

    @Test func whatWaitsIsThrownAwayAndCounted() throws {
        try Wire.with { wire, tap in
            let header = [UInt8](repeating: 0, count: 12)
            for number in 0..<50 { try wire.send(header + Wire.frame(UInt32(number), bytes: 1000, toGuest: true)) }
            #expect(tap.discardWaiting() >= 50)
            #expect(tap.discardWaiting() == 0)
        }
    }

    @Test func packetsWaitForTenSecondsAtMost() {
        let second: UInt64 = 1_000_000_000
        var waiting = WaitingPackets()
        func areStale(areTaken: Bool, at seconds: UInt64) -> Bool { waiting.areStale(areTaken: areTaken, now: seconds * second) }
        let never = areStale(areTaken: true, at: 1)
        #expect(!never && waiting.deadline == .max)
        // A restart: nothing is lost.
        let restart = [areStale(areTaken: false, at: 5), areStale(areTaken: false, at: 14), areStale(areTaken: true, at: 16)]
        #expect(restart == [false, false, false] && waiting.deadline == .max)
        let hours = [20, 30, 31, 3600].map { areStale(areTaken: false, at: $0) }
        #expect(hours == [false, true, false, true] && waiting.deadline == 3610 * second)
    }
}
